package generate

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// kind is a cause of errors: all its messages are one error group, though no
// two need be equal.
type kind struct {
	name      string
	errorType string
	stack     string // as it stands inside a JSON string, or empty
	message   []part
}

// part is a piece of a message: text, then something that differs every time.
type part struct {
	text string // as it stands inside a JSON string
	vary func(b []byte, rng *rand.Rand) []byte
}

// failures lists the kinds of errors by event type. What stands in braces is
// made up anew for every message, see varying. Two of a stage share an error
// type, so a consumer has to look at the message.
var failures = map[string][]struct{ name, errorType, message, stack string }{
	"retrieval_completed": {
		{"store_timeout", "TimeoutError", `vector store {ip}:{port} did not answer within {n} ms (request {uuid})`, ""},
		{"pool_timeout", "TimeoutError", `no free connection to {host} after {n} ms, {n} waiting`, ""},
		{"no_collection", "CollectionNotFound", `collection \"{word}\" does not exist`,
			`Traceback (most recent call last):\n  File \"/app/rag/retriever.py\", line 88, in search\n    self.client.query(name)\n  File \"/app/rag/store.py\", line 41, in query\n    raise CollectionNotFound(name)`},
	},
	"tool_call_completed": {
		{"tool_exit", "ToolError", `tool '{word}' ended with exit status {n} for user {n}`, ""},
		{"tool_json", "JSONDecodeError", `Expecting value: line {n} column {n} (char {n})`,
			`Traceback (most recent call last):\n  File \"/app/rag/tools.py\", line 152, in call\n    return json.loads(out)`},
	},
	"llm_call_completed": {
		{"rate_limit", "RateLimitError", `Rate limit reached: limit {n}, used {n}, retry in {decimal}s (request id req_{hex})`, ""},
		{"context_length", "BadRequestError", `prompt has {n} tokens, the model takes {n}`, ""},
		{"connection_reset", "APIConnectionError", `connection to https://{host}:{port}/v1/chat reset by peer after {decimal} s`,
			`Traceback (most recent call last):\n  File \"/app/rag/llm.py\", line 207, in complete\n    async for chunk in stream:\nConnectionResetError: [Errno 104] Connection reset by peer`},
		{"llm_timeout", "TimeoutError", `no token from the model within {decimal} s, trace {uuid}`, ""},
	},
}

// varying says what may stand in braces in a message.
var varying = map[string]func(b []byte, rng *rand.Rand) []byte{
	"n":    func(b []byte, rng *rand.Rand) []byte { return number(b, 1+rng.IntN(100_000)) },
	"port": func(b []byte, rng *rand.Rand) []byte { return number(b, 1024+rng.IntN(60_000)) },
	"decimal": func(b []byte, rng *rand.Rand) []byte {
		return number(append(number(b, rng.IntN(90)), '.'), 1+rng.IntN(99))
	},
	"ip": func(b []byte, rng *rand.Rand) []byte {
		b = number(append(b, "10."...), rng.IntN(256))
		b = number(append(b, '.'), rng.IntN(256))
		return number(append(b, '.'), 1+rng.IntN(254))
	},
	"host": func(b []byte, rng *rand.Rand) []byte {
		b = number(append(b, "node-"...), 1+rng.IntN(40))
		return append(number(append(b, ".zone-"...), 1+rng.IntN(3)), ".internal"...)
	},
	"word": func(b []byte, rng *rand.Rand) []byte {
		return append(b, words[rng.IntN(len(words))]...)
	},
	"hex": func(b []byte, rng *rand.Rand) []byte { return appendHex(b, rng.Uint64()) },
	"uuid": func(b []byte, rng *rand.Rand) []byte {
		for i, digit := range appendHex(appendHex(nil, rng.Uint64()), rng.Uint64()) {
			if i == 8 || i == 12 || i == 16 || i == 20 {
				b = append(b, '-')
			}
			b = append(b, digit)
		}
		return b
	},
}

var words = []string{"weather", "contracts-2025", "sql_runner", "web search", "hr handbook", "Tickets", "文档库", "invoices/eu"}

func number(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// append appends a message of this kind.
func (k *kind) append(b []byte, rng *rand.Rand) []byte {
	for _, p := range k.message {
		b = append(b, p.text...)
		if p.vary != nil {
			b = p.vary(b, rng)
		}
	}
	return b
}

func parseKinds() map[string][]kind {
	kinds := make(map[string][]kind)
	for event, list := range failures {
		for _, f := range list {
			k := kind{name: f.name, errorType: f.errorType, stack: f.stack}
			for rest := f.message; rest != ""; {
				text, after, found := strings.Cut(rest, "{")
				name, end, _ := strings.Cut(after, "}")
				if found && varying[name] == nil {
					panic(fmt.Sprintf("BUG: error message %q: nothing is called %q", f.message, name))
				}
				k.message = append(k.message, part{text, varying[name]})
				rest = end
			}
			kinds[event] = append(kinds[event], k)
		}
	}
	return kinds
}
