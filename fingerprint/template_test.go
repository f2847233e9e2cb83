package fingerprint_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"ragstreams/fingerprint"
)

func template(message string) string {
	return string(fingerprint.AppendTemplate(nil, []byte(message)))
}

// templates are messages and what should be left of them.
var templates = []struct{ message, want string }{
	{"", ""},
	{"context canceled", "context canceled"},
	{"upstream timed out after 30s id=12345", "upstream timed out after <num>s id=<num>"},

	// space
	{"  a \t\r\n b\x00\u00a0\u3000c\u2028 ", "a b c"},
	{"a\x01/tmp/x", "a <path>"},

	// numbers
	{"code 429", "code <num>"},
	{"exit code -1", "exit code <num>"},
	{"offset=+5", "offset=<num>"},
	{"1,234,567 rows, 3 columns", "<num> rows, <num> columns"},
	{"took 1234.5 of 1e-5 or 2.5E+10", "took <num> of <num> or <num>"},
	{"95% of 3GHz and 1.5GHz", "<num>% of <num>GHz and <num>GHz"},
	{"version v1.2.3-rc4", "version v<num>.<num>-rc<num>"},
	{"python3.11", "python<num>.<num>"},
	{"5,x and 7.", "<num>,x and <num>."},
	{"range 3-5", "range <num>-<num>"},
	{"shard #12 (of 20)", "shard #<num> (of <num>)"},
	{"HTTP/1.1 503", "HTTP/<num> <num>"},

	// durations
	{"try again in 820ms", "try again in <num>s"},
	{"try again in 1.4s.", "try again in <num>s."},
	{"try again in 6m0s", "try again in <num>s"},
	{"took 15.2µs or 2h0m0.5s", "took <num>s or <num>s"},
	{"in the last 24h and 5m", "in the last <num>h and <num>m"},
	{"3stages", "<num>stages"},

	// sizes
	{"Tried to allocate 2.00 GiB (15.78 GiB total; 312.00 MiB free)", "Tried to allocate <size> (<size> total; <size> free)"},
	{"512kB or 80 B or 8B", "<size> or <size> or <num>B"},
	{"5 Bytes, 5 KBs, 5 xB, 5 iB, 5 k", "<num> Bytes, <num> KBs, <num> xB, <num> iB, <num> k"},

	// lists
	{"dims [1,2,3] and [1, 2]", "dims [<num>] and [<num>]"},
	{"brokers a.example.com:9092,b.example.com:9092", "brokers <host>"},
	{"from 10.0.0.1,10.0.0.2:", "from <ip>:"},
	{"waited 5s, 7ms", "waited <num>s, <num>s"},
	{"at 3, 4s", "at <num>s"},
	{"missing 'a', 'b'", "missing <quoted>, <quoted>"},
	{"10.0.0.1, 5", "<ip>, <num>"},

	// words with digits
	{"worker-12 and req42abc", "worker-<num> and req<num>abc"},
	{"utf8 sha256sum s3 p99 gpt4o", "utf<num> sha<num>sum s<num> p<num> gpt<num>o"},
	{"llm_call_12", "llm_call_<num>"},
	{"blk_-1608999687919862906 blk_38865049064139660", "blk_<num> blk_<num>"},
	{"第12页失败", "第<num>页失败"},

	// identifiers
	{"at 0x1f and 0xdeadbeefcafe", "at <hex> and <hex>"},
	{"commit deadbeef", "commit <num>"},
	{"commit 3F2A9C10", "commit <num>"},
	{"trace 9b2e4f6a8c0d1e3f5a7b9c1d3e5f7a9b", "trace <num>"},
	{"request id req_01HZX9K2", "request id req_<num>"},
	{"pod chat-api-7d9f8b6c5-x2k4q", "pod chat-api-<num>-<num>"},
	{"ulid 01ARZ3NDEKTSV4RRFFQ69G5FAV", "ulid <num>"},
	{"key tUVyYXgmLPMuJBM5FdhaEcDIOfah", "key <num>"},
	{"session 0x14edba8c1f30000", "session <hex>"},
	{"effaced facade decade added", "effaced facade decade added"},
	{"HTTP2Stream1Closed", "HTTP<num>Stream<num>Closed"},
	{"id 41651bd8-9e4c-4893-add4-c06e9808031c, retry", "id <uuid>, retry"},
	{"id {41651BD8-9E4C-4893-ADD4-C06E9808031C}", "id {<uuid>}"},

	// time
	{"at 2025-04-05T10:00:00Z", "at <time>"},
	{"at 2025-04-05 10:00:00,123 it", "at <time> it"},
	{"at 2025/04/05 10:00:00.123456+02:00.", "at <time>."},
	{"on 2025-04-05 at 10:00:00", "on <time> at <time>"},
	{"line 10:25", "line <num>:<num>"},

	// addresses
	{"dial tcp 10.0.0.7:6333: connection refused", "dial tcp <ip>: connection refused"},
	{"from /10.251.73.220:42557 to 10.251.73.220", "from /<ip> to <ip>"},
	{"dial tcp [::1]:6333", "dial tcp [<ip>]:<num>"},
	{"to fe80::a1b2:3c4d or 2001:db8:0:0:0:0:2:1", "to <ip> or <ip>"},
	{"mac 00:1a:2b:3c:4d:5e", "mac <ip>"},
	{"std::bad_alloc in a::b", "std::bad_alloc in a::b"},
	{"release 1.2.3.4.5", "release <num>"},
	{"lookup db-7.eu-west.internal on 10.0.0.2:53: no such host", "lookup <host> on <ip>: no such host"},
	{"connect to Vector-3.Example.COM:443 failed", "connect to <host> failed"},
	{"connect to qdrant.vectors:6333 failed", "connect to <host> failed"},
	{"connect to localhost:8080", "connect to localhost:<num>"},
	{"java.io.IOException: closed", "java.io.IOException: closed"},
	{"asyncio.exceptions.TimeoutError", "asyncio.exceptions.TimeoutError"},
	{"org.apache.kafka.common is deprecated", "org.apache.kafka.common is deprecated"},
	{"main.py:42 and Store.java:7", "main.py:<num> and Store.java:<num>"},
	{"e.g. this", "e.g. this"},
	{"mail bob.smith+x@example.co.uk, please", "mail <email>, please"},
	{"Object@4e25154f and pkg@v1.9.0", "Object@<num> and pkg@v<num>.<num>"},

	// URLs
	{"GET https://api.openai.com/v1/chat?x=1,2;y#z: 500", "GET <url>: <num>"},
	{"see (http://x.y/z).", "see (<url>)."},
	{"jdbc:postgresql://db:5432/x?user=me", "jdbc:<url>"},
	{"http://[::1]:8080/x", "<url>"},
	{"请求https://example.com/a，失败", "请求<url>，失败"},
	{"POST api.openai.com/v1/chat/completions", "POST <url>"},
	{"http:// and ://", "http:// and ://"},

	// paths
	{"open /data/a7/report.pdf: no such file", "open <path>: no such file"},
	{"open /data/员工手册.pdf: no such file", "open <path>: no such file"},
	{"PATH=/usr/bin, ./run.sh ../x ~/y", "PATH=<path> <path> <path>"},
	{`open C:\Users\me\x.txt: denied`, "open <path>: denied"},
	{`open \\nas\share\x failed`, "open <path> failed"},
	{"in src/rag/llm.py", "in <path>"},
	{"models/a/b and input/output and N/A and 12/31/2024", "<path> and input/output and N/A and <num>/<num>/<num>"},
	{"cannot parse handbook_v2.pdf", "cannot parse <path>"},
	{"a / b // c", "a / b // c"},
	{"rate 5/10", "rate <num>/<num>"},

	// quotes
	{`key 'a b' not in "c"`, "key <quoted> not in <quoted>"},
	{"model `gpt-5` does not exist", "model <quoted> does not exist"},
	{"can't find 'x', don't ask", "can't find <quoted>, don't ask"},
	{"it's the users' fault", "it's the users' fault"},
	{`{'error': {'message': "it's", 'code': 5}}`, "{<quoted>: {<quoted>: <quoted>, <quoted>: <num>}}"},
	{`said \"hi there\" twice`, `said \<quoted> twice`},
	{`said "a \"b\" c" twice`, "said <quoted> twice"},
	{"bytes b'abc' and empty ''", "bytes <quoted> and empty <quoted>"},
	{`an open "quote stays`, `an open "quote stays`},
	{"知识库“员工手册”不存在", "知识库<quoted>不存在"},
	{"打开'员工手册'失败，「x」", "打开<quoted>失败，<quoted>"},
	{"café's 5\" disk", "café's <num>\" disk"},

	// what is left alone
	{"<num> <nums> <12> < 5", "<num> <nums> <<num>> < <num>"},
	{"bad \xff\xc3 bytes", "bad �� bytes"},
	{"Error code: 429 - rate limit reached for model mock, request id req_01HZX9K2",
		"Error code: <num> - rate limit reached for model mock, request id req_<num>"},
}

func TestAppendTemplate(t *testing.T) {
	for _, tt := range templates {
		if got := template(tt.message); got != tt.want {
			t.Errorf("AppendTemplate(%q)\n got %q\nwant %q", tt.message, got, tt.want)
		}
		checkTemplate(t, tt.message)
	}
}

// checkTemplate holds what is promised of every template.
func checkTemplate(t *testing.T, message string) {
	t.Helper()
	const before = "kept "
	got, ok := bytes.CutPrefix(fingerprint.AppendTemplate([]byte(before), []byte(message)), []byte(before))
	if !ok {
		t.Fatalf("AppendTemplate(%q) changed what dst held", message)
	}
	if len(got) > 256 {
		t.Errorf("AppendTemplate(%.100q) has %d bytes, want at most 256", message, len(got))
	}
	if !utf8.Valid(got) {
		t.Errorf("AppendTemplate(%q) = %q, not UTF-8", message, got)
	}
	if bytes.ContainsFunc(got, unicode.IsControl) || bytes.Contains(got, []byte("  ")) || len(bytes.TrimSpace(got)) != len(got) {
		t.Errorf("AppendTemplate(%q) = %q has space that should be gone", message, got)
	}
	if blank := strings.TrimFunc(message, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) == ""; blank != (len(got) == 0) && len(message) <= 4096 {
		t.Errorf("AppendTemplate(%q) = %q", message, got)
	}
	if again := template(string(got)); again != string(got) {
		t.Errorf("AppendTemplate(%q)\n    is %q\n of that %q", message, got, again)
	}
}

// groups are messages that are one error, group by group. No two groups may
// share a template.
var groups = [][]string{
	{"dial tcp 10.0.0.7:6333: connect: connection refused", "dial tcp 10.12.0.99:19530: connect: connection refused"},
	{"dial tcp 10.0.0.7:6333: connect: connection reset by peer"},
	{"dial tcp: lookup qdrant-0.prod.example.com: no such host", "dial tcp: lookup milvus.svc.cluster.local: no such host"},
	{"upstream timed out after 30s id=12345", "upstream timed out after 1m0s id=7", "upstream timed out after 250ms id=999999999"},
	{"429 from provider, retry in 12345ms", "429 from provider, retry in 1ms"},
	{"shard 17 unavailable, request 41651bd8-9e4c-4893-add4-c06e9808031c", "shard 3 unavailable, request 00000000-0000-4000-8000-000000000000"},
	{"tool exited with code 137 at 0x3f2a9c10aa00", "tool exited with code -1 at 0x0"},
	{"prompt of 20000 tokens exceeds limit 8192", "prompt of 8193 tokens exceeds limit 8192"},
	{"request 3f2a9c10 failed", "request 31415926 failed", "request deadbeef failed", "request 01ARZ3NDEKTSV4RRFFQ69G5FAV failed"},
	{"The model `gpt-5` does not exist", "The model `claude 9` does not exist"},
	{"Please try again in 820ms. Visit https://platform.openai.com/account", "Please try again in 6m0s. Visit https://example.com/a?b=c"},
	{"File not found: /data/a/x.pdf", "File not found: /srv/手册.docx", `File not found: C:\docs\x.pdf`, "File not found: report-final.pdf"},
	{"user bob@example.com not allowed", "user x.y+z@mail.example.org not allowed"},
	{"worker-12 lost", "worker-7 lost"},
	{"reader-12 lost"},
	{"no space left on device"},
	{"no space left on\n  device in the machine"},
	{"certificate expired at 2025-04-05T10:00:00Z", "certificate expired at 2024-12-31 23:59:59.123"},
	{"KeyError: 'tenant_id'", `KeyError: "user's name"`},
	{"知识库“员工手册”不存在", "知识库“合同”不存在"},
	{"知识库“员工手册”已锁定"},
	{"don't know how to handle this"},
	{"can't know how to handle this"},
}

func TestGroups(t *testing.T) {
	seen := map[string]int{}
	for g, group := range groups {
		for _, message := range group {
			got := template(message)
			if want := template(group[0]); got != want {
				t.Errorf("%q and %q are one error, but %q and %q", group[0], message, want, got)
			}
			if other, ok := seen[got]; ok && other != g {
				t.Errorf("%q and %q are two errors, but both %q", groups[other][0], message, got)
			}
			seen[got] = g
		}
	}
}

func TestLongMessages(t *testing.T) {
	word := strings.Repeat("word ", 60)
	tests := []struct{ name, message, want string }{
		{"ends after a word", word, strings.TrimSpace(word[:255])},
		{"ends after a letter of a script without spaces", strings.Repeat("错", 100), strings.Repeat("错", 85)},
		{"no place to end", strings.Repeat("x", 300), "<text>"},
		{"a place to end before the long word", "failed: " + strings.Repeat("x-", 200), "failed:"},
		{"what is cut off does not count", word + " 1", template(word + " 2 other")},
		{"quotes longer than what is read", `failed: "` + strings.Repeat("long ", 1000) + `"`, "failed: <quoted>"},
		{"a rune across the end of what is read", "'" + strings.Repeat("x", 4094) + "é", "<quoted>"},
	}
	for _, tt := range tests {
		if got := template(tt.message); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		checkTemplate(t, tt.message)
	}
}

// TestRandomTemplates looks for templates that do not pass unchanged, among
// messages put together from pieces that the rules look at.
func TestRandomTemplates(t *testing.T) {
	pieces := []string{
		"a", "b", "x", "foo", "com", "io", "py", "pdf", "deadbeef", "face", "http", "std", "ms", "s", "MB", "B", "e", "T", "Z", "0x",
		"0", "1", "12", "2025-04-05", "10:00:00", "1.5", "127.0.0.1", "fe80::1", "41651bd8-9e4c-4893-add4-c06e9808031c",
		" ", " ", " ", "  ", ", ", "\n", "\t", "\x00", "\u00a0",
		".", ".", ",", ":", ":", "/", "/", "//", "://", "-", "_", "@", "+", "%", "~", "?", "!", "#", "=", "&", ";", "|",
		"'", "'", "\"", "\"", "`", "\\", "\\\\", "C:\\", "\\\"", "“", "”", "‘", "’", "「",
		"(", ")", "[", "]", "{", "}", "<", ">", "<num>", "<path>", "<size>", "<quoted>", "<text>", "</",
		"é", "µ", "错", "，", "\xff", "\xe9\x94", "😀",
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		var b strings.Builder
		for range rng.IntN(20) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		message := b.String()
		checkTemplate(t, message)
		if rng.IntN(50) == 0 {
			checkTemplate(t, strings.Repeat(message, 1+300/(1+len(message)))+message)
		}
		if t.Failed() {
			return
		}
	}
}

func FuzzAppendTemplate(f *testing.F) {
	for _, tt := range templates {
		f.Add(tt.message)
	}
	f.Fuzz(checkTemplate)
}

func TestAppendTemplateAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 1024)
	for _, tt := range templates {
		message := []byte(tt.message)
		if n := testing.AllocsPerRun(10, func() { fingerprint.AppendTemplate(dst, message) }); n != 0 {
			t.Errorf("AppendTemplate(%q) allocates %v times, want 0", tt.message, n)
		}
	}
}

func BenchmarkAppendTemplate(b *testing.B) {
	for name, message := range map[string]string{
		"typical": "dial tcp 10.0.0.7:6333: upstream timed out after 30s id=12345 request 41651bd8-9e4c-4893-add4-c06e9808031c",
		// The worst that is known: each of these begins something that never ends.
		"quotes": strings.Repeat(`" 'a "b `, 500), "names": strings.Repeat("a.b-c:", 700), "paths": strings.Repeat(":/", 2000),
		"colons": strings.Repeat("a:", 2000), "brackets": strings.Repeat("http://[", 500),
	} {
		b.Run(name, func(b *testing.B) {
			dst, src := make([]byte, 0, 8192), []byte(message)
			b.ReportAllocs()
			for b.Loop() {
				fingerprint.AppendTemplate(dst, src)
			}
		})
	}
}
