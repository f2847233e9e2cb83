package fingerprint_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"ragstreams/fingerprint"
)

func frames(stack string) string { return string(fingerprint.AppendFrames(nil, []byte(stack))) }

var stacks = []struct{ name, stack, want string }{
	{"none", "", ""},
	{"only a message", "ValueError: bad dependency", ""},
	{"Python, the last frames first", `Traceback (most recent call last):
  File "/opt/rag/lib/python3.11/site-packages/starlette/app.py", line 20, in __call__
    await self.app(scope)
  File "/opt/rag/lib/python3.11/site-packages/llama_index/core/llms/llm.py", line 641, in predict
    response = self.complete(prompt, formatted=True)
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "C:\app\dispatcher.py", line 413, in wrapper
    result = func(*args, **kwargs)
  File "/opt/a/rec2.py", line 39, in <module>
RuntimeError: Error code: 429
`, "<module> rec<num>.py < wrapper dispatcher.py < predict llm.py"},
	{"Python, the last traceback of a chain", `Traceback (most recent call last):
  File "/a/inner.py", line 1, in inner
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/a/outer.py", line 2, in outer
  File "/a/half.py", line
ValueError: File "/a/not.py"
`, "outer outer.py"},
	{"Python, a syntax error has no function", "Traceback (most recent call last):\n  File \"x.py\", line 3\n", "x.py"},
	{"Java, the outer exception", `java.lang.RuntimeException: query failed
	at com.acme.rag.Store.query(Store.java:42)
	at com.acme.rag.Chat.lambda$answer$3(Chat.java:7)
	at java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1136)
	at java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.io.IOException: closed
	at com.acme.io.Socket.read(Native Method)
`, "com.acme.rag.Store.query Store.java < com.acme.rag.Chat.lambda$answer$<num> Chat.java < java.util.concurrent.ThreadPoolExecutor.runWorker ThreadPoolExecutor.java"},
	{"Java, native and generated code", `	at sun.reflect.GeneratedMethodAccessor12.invoke(Unknown Source)
	at com.acme.Chat$$Lambda$14/0x0000000800066840.run(Unknown Source)
	at com.acme.io.Socket.read(Native Method)
	... 12 more`, "sun.reflect.GeneratedMethodAccessor<num>.invoke Unknown Source < com.acme.Chat$$Lambda$<num> Unknown Source < com.acme.io.Socket.read Native Method"},
	{"Go, without the runtime", `goroutine 6110 [running]:
runtime/debug.Stack()
	/usr/local/go/src/runtime/debug/stack.go:24 +0x64
panic({0x1035caa80, 0x140001220b0})
	/usr/local/go/src/runtime/panic.go:770 +0x124
github.com/acme/rag/store.(*Client).Query(0x1400578bb00, {0x14009b0ab60, 0x68})
	/src/store/client.go:88 +0xb10
main.main.func1()
	/src/main.go:12
created by main.main in goroutine 1
	/src/main.go:10 +0x5c
`, "store.(*Client).Query client.go < main.main.func<num> main.go < created by main.main in goroutine <num> main.go"},
	{"Go, as errors print it", "boom\nmain.load\n\t/src/load.go:12\nmain.main\n\t/src/main.go:10\nruntime.main\n\t/go/proc.go:271\n",
		"main.load load.go < main.main main.go"},
	{"JavaScript of V8", `TypeError: Cannot read properties of undefined
    at position 3 of the input
    at async Store.query (/app/dist/store.3f2a9c10.js:10:15)
    at new Chat (file:///app/chat.mjs:1:2)
    at /app/index.js:7:9
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)`,
		"Store.query store.<num>.js < new Chat chat.mjs < index.js"},
	{"JavaScript of Firefox and Safari", "query@https://acme.com/static/store.js:10:15\n@https://acme.com/a.js:1:2\nbob@example.com wrote:\n",
		"query store.js < a.js"},
	{"a message that begins with at", "at least (one) is needed (char 5)\nat 3:15", ""},
	{"Windows line ends", "Error: x\r\n    at f (/app/f.js:1:2)\r\n", "f f.js"},
}

func TestAppendFrames(t *testing.T) {
	for _, tt := range stacks {
		t.Run(tt.name, func(t *testing.T) {
			if got := frames(tt.stack); got != tt.want {
				t.Errorf("AppendFrames(%s)\n got %q\nwant %q", tt.stack, got, tt.want)
			}
			checkFrames(t, tt.stack)
		})
	}
}

func checkFrames(t *testing.T, stack string) {
	t.Helper()
	const before = "kept "
	got, ok := bytes.CutPrefix(fingerprint.AppendFrames([]byte(before), []byte(stack)), []byte(before))
	switch {
	case !ok:
		t.Fatalf("AppendFrames(%q) changed what dst held", stack)
	case len(got) > 3*2*256+10:
		t.Errorf("AppendFrames(%.100q) has %d bytes", stack, len(got))
	case !utf8.Valid(got) || bytes.ContainsFunc(got, unicode.IsControl):
		t.Errorf("AppendFrames(%q) = %q, want one line of UTF-8", stack, got)
	}
}

func TestFramesIgnoreWhereTheCodeStands(t *testing.T) {
	stack := stacks[2].stack
	moved := strings.NewReplacer("641", "640", "413", "9", "/opt/rag", "/home/me/.venv", "rec2", "rec13").Replace(stack)
	if a, b := frames(stack), frames(moved); a != b {
		t.Errorf("other lines and folders: %q, want %q", b, a)
	}
	if a, b := frames(stack), frames(strings.ReplaceAll(stack, "in wrapper", "in caller")); a == b {
		t.Errorf("another function: %q as well", b)
	}
}

func FuzzAppendFrames(f *testing.F) {
	for _, tt := range stacks {
		f.Add(tt.stack)
	}
	f.Add("\n at \n at (\n at )\n at ()\n@\n:1\n@:1\n\t.go:\nx\n .go:1")
	f.Fuzz(checkFrames)
}

func TestAppendFramesAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 2048)
	for _, tt := range stacks {
		stack := []byte(tt.stack)
		if n := testing.AllocsPerRun(10, func() { fingerprint.AppendFrames(dst, stack) }); n != 0 {
			t.Errorf("%s: AppendFrames allocates %v times, want 0", tt.name, n)
		}
	}
}
