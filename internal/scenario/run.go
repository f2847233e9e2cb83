package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ragstreams/tables"
)

// Record is a record of a source topic.
type Record struct {
	Topic     string
	Partition int32
	Timestamp time.Time
	Value     []byte // may be nil
}

// Message is a record of an own topic.
type Message struct {
	Partition int32
	Value     []byte
	Headers   map[string]string
}

// Play plays the script of a file to a world and returns where the answers differ,
// and the script with the answers that were given.
func Play(ctx context.Context, file string, open func(Given) (World, error)) (differences []string, rewritten []byte, err error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	s, err := Parse(file, src)
	if err != nil {
		return nil, nil, err
	}
	w, err := open(s.Given)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	rewritten, differences, err = s.Run(ctx, w)
	return differences, rewritten, err
}

// World is where a scenario happens: a topology of processors without a broker, or
// the program on one. It names topics as the script does.
type World interface {
	// SetClock moves the clock on. The time that passes is that of the monotonic
	// clock as well.
	SetClock(t time.Time)
	Produce(ctx context.Context, r Record) error
	// Settle returns when all that was sent has had its effect at the present time.
	Settle(ctx context.Context) error
	Restart(ctx context.Context) error
	// Get asks the program by HTTP.
	Get(ctx context.Context, path string) (status int, body string, err error)
	// Post sends it something by HTTP.
	Post(ctx context.Context, path, body string) (status int, answer string, err error)
	// Replayed says that a replay has sent records to a source topic.
	Replayed(topic string, n int)
	// RabbitMQ stops, kills or starts the broker that alerts are published to.
	RabbitMQ(ctx context.Context, do string) error
	// Received returns the bodies that a queue for all alerts got, in their order.
	Received(ctx context.Context) ([][]byte, error)
	// Read returns all records of an own topic, by partition.
	Read(ctx context.Context, topic string) ([]Message, error)
	Close() error
}

// Run plays a script and returns it with the answers that the world gave, and
// where these differ from the script's.
func (s *Script) Run(ctx context.Context, w World) (rewritten []byte, differences []string, err error) {
	p := player{w: w, offsets: map[string]int64{}}
	answers := make([]string, len(s.steps))
	for i, st := range s.steps {
		answer, err := p.do(ctx, st)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %s: %w", st.line, st.text, err)
		}
		if answers[i] = answer; st.asks && answer != st.expects {
			differences = append(differences, fmt.Sprintf("line %d: %s\n%s\nwant:\n%s", st.line, st.text, answer, st.expects))
		}
	}
	return s.format(answers), differences, nil
}

// player carries out commands.
type player struct {
	w       World
	now     time.Time
	offsets map[string]int64
	sent    bool // something that has not settled
}

func (p *player) do(ctx context.Context, st step) (string, error) {
	args := st.words[1:]
	question, asks := questions[st.words[0]]
	if asks != st.asks {
		return "", errors.New("only a question is followed by ----, and every one is")
	}
	if asks || slices.Contains([]string{"at", "restart", "silence", "rabbitmq"}, st.words[0]) {
		if err := p.settle(ctx); err != nil {
			return "", err
		}
	}
	switch {
	case asks:
		p.sent = st.words[0] == "replay"
		return question(ctx, p.w, args)
	case st.gives():
		return "", nil
	case st.words[0] == "silence" && !p.now.IsZero():
		p.sent = true
		return "", silence(ctx, p.w, p.now, args)
	case len(args) == 1 && st.words[0] == "at":
		t, err := clock(args[0])
		if err != nil {
			return "", err
		}
		p.w.SetClock(t)
		p.now, p.sent = t, true
		return "", nil
	case len(args) == 1 && st.words[0] == "rabbitmq":
		p.sent = true
		return "", p.w.RabbitMQ(ctx, args[0])
	case len(args) == 0 && st.words[0] == "restart":
		p.sent = true
		return "", p.w.Restart(ctx)
	case len(args) > 0 && st.words[0] == "event":
		value, err := event(p.now, args[1:])
		if err != nil {
			return "", err
		}
		return "", p.send(ctx, args[0], value)
	case len(args) == 2 && st.words[0] == "record":
		if args[1] == "nil" {
			return "", p.send(ctx, args[0], nil)
		}
		value, err := strconv.Unquote(args[1])
		if err != nil {
			return "", fmt.Errorf("%s is no Go string: %w", args[1], err)
		}
		return "", p.send(ctx, args[0], []byte(value))
	}
	return "", errors.New("no such command; the package's comment lists them")
}

func (p *player) settle(ctx context.Context) error {
	if !p.sent {
		return nil
	}
	p.sent = false
	return p.w.Settle(ctx)
}

func (p *player) send(ctx context.Context, to string, value []byte) error {
	topic, number, _ := strings.Cut(to, "/")
	partition, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return fmt.Errorf("%s: want TOPIC/PARTITION", to)
	}
	p.sent = true
	return p.w.Produce(ctx, Record{Topic: topic, Partition: int32(partition), Timestamp: p.now, Value: value})
}

// event writes an event as JSON.
func event(now time.Time, fields []string) ([]byte, error) {
	members := map[string]any{"event_type": "user_query", "timestamp": now.Format(time.RFC3339Nano)}
	names := map[string]string{"id": "event_id", "type": "event_type", "time": "timestamp"}
	for _, f := range fields {
		name, text, ok := strings.Cut(f, "=")
		if !ok {
			return nil, fmt.Errorf("%s: want FIELD=VALUE", f)
		}
		if long := names[name]; long != "" {
			name = long
		}
		var value any = text
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			value = n
		} else if s, err := strconv.Unquote(text); err == nil {
			value = s
		}
		if name == "timestamp" {
			if text == "none" {
				delete(members, name)
				continue
			}
			t, err := clock(text)
			if err != nil {
				return nil, err
			}
			value = t.Format(time.RFC3339Nano)
		}
		in := members
		for {
			outer, inner, nested := strings.Cut(name, ".")
			if !nested {
				break
			}
			object, _ := in[outer].(map[string]any)
			if object == nil {
				object = map[string]any{}
				in[outer] = object
			}
			in, name = object, inner
		}
		in[name] = value
	}
	return json.Marshal(members)
}

// questions answer in words.
var questions = map[string]func(ctx context.Context, w World, args []string) (string, error){
	"outcomes":  askOutcomes,
	"table":     askTable,
	"windows":   askWindows("-windows"),
	"hours":     askWindows("-hours"),
	"watermark": askWatermark,
	"records":   askRecords,
	"metrics":   askMetrics,
	"alerts":    askAlerts,
	"told":      askTold,
	"received":  askReceived,
	"replay":    askReplay,
}

// columns takes the argument columns=A,B out of args.
func columns(args []string) (rest, names []string) {
	for _, a := range args {
		if list, ok := strings.CutPrefix(a, "columns="); ok {
			names = strings.Split(list, ",")
		} else {
			rest = append(rest, a)
		}
	}
	return rest, names
}

// tableAnswer is what GET /api/tables/{table} answers.
type tableAnswer struct {
	Watermark *time.Time
	Columns   []tables.Column
	Rows      []map[string]any
}

func get(ctx context.Context, w World, table, query string) (*tableAnswer, error) {
	status, body, err := w.Get(ctx, "/api/tables/"+table+"?"+query)
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("status %d: %s", status, strings.TrimSpace(body))
	}
	a := new(tableAnswer)
	return a, json.Unmarshal([]byte(body), a)
}

func askTable(ctx context.Context, w World, args []string) (string, error) {
	args, only := columns(args)
	if len(args) == 0 {
		return "", errors.New("want the name of a table")
	}
	a, err := get(ctx, w, args[0], strings.Join(args[1:], "&"))
	if err != nil {
		return "", err
	}
	var lines []string
	for _, row := range a.Rows {
		var words []string
		for _, c := range a.Columns {
			if only == nil || slices.Contains(only, c.Name) {
				words = append(words, c.Name+"="+text(row[c.Name], c.Type))
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// text writes a value of an answer.
func text(v any, kind string) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		if kind == tables.TypeTime {
			if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return ofDay(t)
			}
		}
		if strings.ContainsAny(v, " \n\"") {
			return strconv.Quote(v)
		}
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(b)
}

func askOutcomes(ctx context.Context, w World, _ []string) (string, error) {
	a, err := get(ctx, w, "records", "total=true")
	if err != nil {
		return "", err
	}
	var lines []string
	for _, row := range a.Rows {
		line := fmt.Sprintf("%s %s %v", row["topic"], row["outcome"], row["count"])
		if reason, _ := row["reason"].(string); reason != "" {
			line = fmt.Sprintf("%s %s/%s %v", row["topic"], row["outcome"], reason, row["count"])
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func askWatermark(ctx context.Context, w World, args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("want the name of a table")
	}
	a, err := get(ctx, w, args[0], "total=true")
	if err != nil || a.Watermark == nil {
		return "none", err
	}
	return ofDay(*a.Watermark), nil
}

// askWindows returns what asks for the closed windows of a table, in a topic whose name
// ends like this.
func askWindows(topic string) func(ctx context.Context, w World, args []string) (string, error) {
	return func(ctx context.Context, w World, args []string) (string, error) {
		return listWindows(ctx, w, args, topic)
	}
}

func listWindows(ctx context.Context, w World, args []string, topic string) (string, error) {
	args, only := columns(args)
	if len(args) != 1 {
		return "", errors.New("want the name of a table")
	}
	var show func(m Message) ([]string, error)
	switch args[0] {
	case tables.TrafficTable.Name:
		show = windowsOf(&tables.TrafficTable, only)
	case tables.LatencyTable.Name:
		show = windowsOf(&tables.LatencyTable, only)
	case tables.UsageTable.Name:
		show = windowsOf(&tables.UsageTable, only)
	case tables.BehaviourTable.Name:
		show = windowsOf(&tables.BehaviourTable, only)
	case tables.ErrorsTable.Name:
		show = windowsOf(&tables.ErrorsTable, only)
	default:
		return "", fmt.Errorf("table %s has no windows", args[0])
	}
	messages, err := w.Read(ctx, args[0]+topic)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, m := range messages {
		more, err := show(m)
		if err != nil {
			return "", err
		}
		lines = append(lines, more...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// windowsOf returns what writes a record of the windows topic.
func windowsOf[M any, P tables.Measure[M]](t *tables.Table[M], only []string) func(Message) ([]string, error) {
	return func(m Message) ([]string, error) {
		size, err := strconv.ParseInt(m.Headers["pane_ms"], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("header pane_ms: %w", err)
		}
		in, err := tables.NewBatchReader(m.Value)
		if err != nil {
			return nil, err
		}
		var lines []string
		for in.Next() {
			var measure M
			if err := tables.DecodeBody(in.Body, P(&measure)); err != nil {
				return nil, err
			}
			dims, err := t.DimsOf(string(in.Key))
			if err != nil {
				return nil, err
			}
			words := []string{ofDay(time.UnixMilli(in.Pane))}
			values := t.Values(dims, &measure, nil, tables.Span{From: in.Pane, To: in.Pane + size})
			for i, c := range t.Columns {
				if only == nil && c.Type != tables.TypeSamples || slices.Contains(only, c.Name) {
					words = append(words, c.Name+"="+value(values[i]))
				}
			}
			lines = append(lines, strings.Join(words, " "))
		}
		return lines, in.Err()
	}
}

// value writes a value of a table as text does.
func value(v any) string {
	switch v := v.(type) {
	case int64:
		return text(float64(v), "")
	case time.Time:
		return ofDay(v)
	}
	return text(v, "")
}

func askRecords(ctx context.Context, w World, args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("want the name of an own topic, without its prefix")
	}
	messages, err := w.Read(ctx, args[0])
	if err != nil {
		return "", err
	}
	var lines []string
	for _, m := range messages {
		words := []string{fmt.Sprintf("%s/%s@%s", m.Headers["source_topic"], m.Headers["source_partition"], m.Headers["source_offset"])}
		for _, h := range []string{"reason", "event_time_ms", "lateness_ms", "replays_before"} {
			v, ok := m.Headers[h]
			if !ok {
				continue
			}
			if ms, err := strconv.ParseInt(v, 10, 64); err == nil && h == "event_time_ms" {
				h, v = "event_time", ofDay(time.UnixMilli(ms))
			}
			words = append(words, h+"="+v)
		}
		line := strings.Join(words, " ")
		switch value := string(m.Value); {
		case m.Value == nil:
			line += " nil"
		case value == "" || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
			line += " " + strconv.Quote(value)
		default:
			line += " " + value
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func askMetrics(ctx context.Context, w World, args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("want the name of a metric")
	}
	status, body, err := w.Get(ctx, "/metrics")
	if err != nil || status != 200 {
		return "", fmt.Errorf("status %d: %w", status, err)
	}
	var lines []string
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, args[0]); ok && (rest[0] == '{' || rest[0] == ' ') {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}
