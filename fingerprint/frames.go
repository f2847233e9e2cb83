package fingerprint

import "bytes"

// maxFrames is how many frames tell errors apart: the innermost. The outer ones
// are the same for most errors of a program.
const maxFrames = 3

// frame is a place in a stack: the names of a function and of its file, either
// of which may be empty.
type frame struct{ function, file []byte }

// AppendFrames appends the names of the top frames of a stack to dst, the
// innermost first, and returns it:
//
//	complete rec.py < wrapper dispatcher.py < predict llm.py
//
// It reads stacks of Python, Java, Go and JavaScript. Files are without their
// folders, lines and addresses are left out, and numbers in names are replaced
// as in a template. What it appends is valid UTF-8 on a single line, at most 256
// bytes a name, and nothing if the stack is of another kind.
func AppendFrames(dst, stack []byte) []byte {
	var top [maxFrames]frame
	n := 0
	if i := bytes.LastIndex(stack, []byte("Traceback (most recent call last)")); i >= 0 {
		n = pythonFrames(&top, stack[i:])
	} else if bytes.Contains(stack, []byte(".go:")) {
		n = goFrames(&top, stack)
	} else {
		n = atFrames(&top, stack)
	}
	for i, f := range top[:n] {
		if i > 0 {
			dst = append(dst, " < "...)
		}
		dst = appendNames(dst, f.function)
		if len(f.function) > 0 && len(f.file) > 0 {
			dst = append(dst, ' ')
		}
		dst = appendNames(dst, f.file)
	}
	return dst
}

// appendNames appends a name without what varies in it.
func appendNames(dst, name []byte) []byte {
	t := templater{src: name, dst: dst, base: len(dst), anchor: len(dst), wordsOnly: true}
	return t.run()
}

// pythonFrames reads the frames of a traceback, whose last is the innermost:
//
//	File "/app/rag/llm.py", line 641, in predict
func pythonFrames(top *[maxFrames]frame, stack []byte) int {
	n := 0
	for line := range bytes.Lines(stack) {
		line, ok := bytes.CutPrefix(bytes.TrimLeft(line, " |"), []byte(`File "`))
		if !ok {
			continue
		}
		file, rest, ok := bytes.Cut(line, []byte(`", line `))
		if !ok {
			continue
		}
		_, function, _ := bytes.Cut(rest, []byte(", in "))
		copy(top[1:], top[:])
		top[0] = frame{bytes.TrimSpace(function), base(file)}
		n = min(n+1, maxFrames)
	}
	return n
}

// goFrames reads the frames of a goroutine, a line for the function and one for
// the place:
//
//	github.com/acme/rag/store.(*Client).Query(0xc000123456, {0x14, 0x2})
//		/src/store/client.go:88 +0x1f4
//
// The runtime's own frames, through which a panic or a stack dump goes, say
// nothing.
func goFrames(top *[maxFrames]frame, stack []byte) int {
	n := 0
	var before []byte
	for line := range bytes.Lines(stack) {
		end := bytes.Index(line, []byte(".go:"))
		if end < 0 || !isBlank(rune(line[0])) {
			before = bytes.TrimSpace(line)
			continue
		}
		function := before
		if i := bytes.LastIndexByte(function, '('); i > 0 && bytes.HasSuffix(function, []byte(")")) {
			function = function[:i] // without arguments
		}
		if bytes.HasPrefix(function, []byte("runtime.")) || bytes.HasPrefix(function, []byte("runtime/")) || string(function) == "panic" {
			continue
		}
		top[n] = frame{base(function), base(line[:end+len(".go")])}
		if n++; n == maxFrames {
			break
		}
	}
	return n
}

// atFrames reads frames of Java and JavaScript:
//
//	at com.acme.rag.Store.query(Store.java:42)
//	at async Store.query (/app/store.js:10:15)
//	at /app/store.js:10:15
//	query@https://acme.com/store.js:10:15
func atFrames(top *[maxFrames]frame, stack []byte) int {
	n := 0
	for line := range bytes.Lines(stack) {
		trimmed := bytes.TrimSpace(line)
		place, isAt := bytes.CutPrefix(trimmed, []byte("at "))
		var function []byte
		switch i := bytes.LastIndexByte(place, '('); {
		case isAt && !isBlank(rune(line[0])):
			continue // a message that begins with "at"
		case isAt && i >= 0 && place[len(place)-1] == ')':
			function, place = bytes.TrimSpace(place[:i]), place[i+1:len(place)-1]
		case !isAt:
			function, place, _ = bytes.Cut(trimmed, []byte("@"))
			fallthrough
		default:
			if !placed(place) || bytes.IndexByte(function, ' ') >= 0 {
				continue
			}
		}
		function = bytes.TrimPrefix(function, []byte("async "))
		function, _, _ = bytes.Cut(function, []byte("/0x")) // the address of a lambda
		top[n] = frame{base(function), base(unplaced(place))}
		if n++; n == maxFrames {
			break
		}
	}
	return n
}

// placed reports whether a place ends with a line.
func placed(place []byte) bool { return len(unplaced(place)) < len(place) }

// unplaced returns a place without its line and column.
func unplaced(place []byte) []byte {
	for range 2 {
		i := bytes.LastIndexByte(place, ':')
		if i < 0 || !all(place[i+1:], isDigit) {
			break
		}
		place = place[:i]
	}
	return place
}

// base returns the last element of a path.
func base(path []byte) []byte { return path[bytes.LastIndexAny(path, `/\`)+1:] }
