// Package scenario runs scripts that say what happens and what the tables must
// then show: with no broker in milliseconds, and the same files against a broker.
//
// A script is a list of commands, one a line; # begins a comment. A command that
// asks for something is followed by a line ---- and by the answer, which ends with
// an empty line:
//
//	# The pane from 12:00:00 closes when every source has passed its grace.
//	given sources=rag-traces:2
//	at 12:00:01
//	event rag-traces/0 id=a
//	event rag-traces/1 id=b tenant=acme time=12:00:02.5
//	at 12:01:10
//	event rag-traces/0 id=c
//	windows traffic
//	----
//	12:00:00 tenant= app= event_type=user_query count=1 errors=0
//
// Commands:
//
//	given KEY=VALUE…           the topology; first, or left out; see Given
//	rule NAME "EXPR" …         an alerting rule, before all that follows: for,
//	                           keep_firing_for, no_data, min_samples, and labels
//	at TIME                    sets the clock, which stands still in between
//	event TOPIC/PARTITION …    sends an event; FIELD=VALUE, where id, type and time
//	                           stand for event_id, event_type and timestamp, and
//	                           error.type for a member of an object. Without time
//	                           it has the clock's; time=none leaves it out
//	record TOPIC/PARTITION V   sends bytes: a Go string, or nil
//	silence MATCHER… for=1h    makes a silence
//	rabbitmq stop|kill|start   does that to the RabbitMQ that alerts are published to
//	restart                    ends the program and starts another
//	outcomes                   records by topic, outcome and reason
//	table NAME [QUERY] [columns=A,B]   rows, as GET /api/tables/NAME?QUERY has them
//	windows NAME [columns=A,B] closed panes, as others read them
//	hours NAME [columns=A,B]   their sums by the hour, likewise
//	watermark NAME             of a table
//	records NAME               records of an own topic, named without its prefix
//	metrics NAME               samples of one metric
//	alerts                     alerts that fire, and whether they are suppressed
//	told                       what people are to be told of alerts
//	received                   what a queue of RabbitMQ got of it, each message once
//	replay [WHICH…]            sends dead letters to their sources again, and tells what
//	                           became of each: late for the late records, reason=, one
//	                           by where its original lies, of=TOPIC/PARTITION@OFFSET,
//	                           and value= in its place; dry, force
//
// Of two evaluations of the same time the first counts, and the clock stands still: who
// sends events and asks for alerts lets time pass between.
//
// All times are of 1 March 2026, in UTC, to the millisecond.
package scenario

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Given is the topology of a scenario.
type Given struct {
	Sources         []Source
	Pane            time.Duration
	Grace           time.Duration
	Idle            time.Duration
	MaxFuture       time.Duration
	Partitions      int32 // of own topics
	Series          int
	SeriesPerTenant int
	Rules           string // a rule file; "": no alerts
	RabbitMQ        bool   // alerts are published
}

// Source is a source topic.
type Source struct {
	Topic      string
	Partitions int32
}

func defaults() Given {
	return Given{
		Sources: []Source{{"rag-traces", 1}},
		Pane:    10 * time.Second, Grace: time.Minute, Idle: 30 * time.Second, MaxFuture: 5 * time.Minute, Partitions: 1,
	}
}

// Script is a parsed file.
type Script struct {
	Given Given
	steps []step
}

// step is one command with the lines before it that are none.
type step struct {
	line    int
	before  string // comments and empty lines
	text    string
	words   []string
	asks    bool
	expects string
}

// gives reports whether the step says what is given.
func (s step) gives() bool { return s.words[0] == "given" || s.words[0] == "rule" }

// Parse reads a script.
func Parse(file string, src []byte) (*Script, error) {
	s := &Script{Given: defaults()}
	lines := strings.Split(strings.TrimSuffix(string(src), "\n"), "\n")
	var before strings.Builder
	for i := 0; i < len(lines); i++ {
		text := lines[i]
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s: %w", file, i+1, text, fmt.Errorf(format, args...))
		}
		if t := strings.TrimSpace(text); t == "" || t[0] == '#' {
			before.WriteString(text + "\n")
			continue
		}
		words, err := split(text)
		if err != nil {
			return nil, fail("%w", err)
		}
		st := step{line: i + 1, before: before.String(), text: text, words: words}
		before.Reset()
		if i+1 < len(lines) && lines[i+1] == "----" {
			st.asks = true
			var answer []string
			for i += 2; i < len(lines) && lines[i] != ""; i++ {
				answer = append(answer, lines[i])
			}
			st.expects = strings.Join(answer, "\n")
		}
		begins := !slices.ContainsFunc(s.steps, func(st step) bool { return !st.gives() })
		switch {
		case words[0] == "given" && len(s.steps) > 0, words[0] == "rule" && !begins:
			return nil, fail("comes first")
		case words[0] == "given":
			err = s.Given.set(words[1:])
		case words[0] == "rule":
			err = s.Given.addRule(words[1:])
		}
		if err != nil {
			return nil, fail("%w", err)
		}
		s.Given.RabbitMQ = s.Given.RabbitMQ || words[0] == "rabbitmq" || words[0] == "received"
		s.steps = append(s.steps, st)
	}
	return s, nil
}

func (g *Given) set(words []string) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "sources":
			g.Sources = nil
			for one := range strings.SplitSeq(value, ",") {
				topic, n, _ := strings.Cut(one, ":")
				var partitions int64
				if partitions, err = strconv.ParseInt(n, 10, 32); err != nil {
					break
				}
				g.Sources = append(g.Sources, Source{topic, int32(partitions)})
			}
		case "pane":
			g.Pane, err = time.ParseDuration(value)
		case "grace":
			g.Grace, err = time.ParseDuration(value)
		case "idle":
			g.Idle, err = time.ParseDuration(value)
		case "max_future":
			g.MaxFuture, err = time.ParseDuration(value)
		case "series":
			g.Series, err = strconv.Atoi(value)
		case "series_per_tenant":
			g.SeriesPerTenant, err = strconv.Atoi(value)
		case "partitions":
			var n int64
			n, err = strconv.ParseInt(value, 10, 32)
			g.Partitions = int32(n)
		default:
			err = fmt.Errorf("want sources, pane, grace, idle, max_future, partitions, series or series_per_tenant")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

// split cuts a line into words at blanks; a word may hold Go strings.
func split(line string) ([]string, error) {
	var words []string
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		end := 0
		for end < len(rest) && rest[end] != ' ' {
			if rest[end] != '"' {
				end++
				continue
			}
			quoted, err := strconv.QuotedPrefix(rest[end:])
			if err != nil {
				return nil, fmt.Errorf("a string does not end: %s", rest[end:])
			}
			end += len(quoted)
		}
		words = append(words, rest[:end])
		rest = rest[end:]
	}
	return words, nil
}

// format writes the script with other answers.
func (s *Script) format(answers []string) []byte {
	var b bytes.Buffer
	for i, st := range s.steps {
		b.WriteString(st.before)
		b.WriteString(st.text + "\n")
		if st.asks {
			b.WriteString("----\n")
			if answers[i] != "" {
				b.WriteString(answers[i] + "\n")
			}
			if i < len(s.steps)-1 {
				b.WriteByte('\n')
			}
		}
	}
	return b.Bytes()
}

// clock parses a time of day.
func clock(text string) (time.Time, error) {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-03-01 "+text)
	if err != nil {
		return t, fmt.Errorf("%q is no time such as 12:00:01.5", text)
	}
	return t, nil
}

// ofDay writes a time as clock reads it.
func ofDay(t time.Time) string { return t.UTC().Format("15:04:05.999") }
