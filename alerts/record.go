package alerts

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
)

// format is that of the records below, which are JSON so that people can read them.
const format = 1

// About is what people are told of an alert besides what happened to it.
type About struct {
	Group       string            `json:"group"`
	Name        string            `json:"name"`   // of the rule, and the label alertname
	Labels      map[string]string `json:"labels"` // all of them, alertname and severity included
	Annotations map[string]string `json:"annotations,omitempty"`
	Expr        string            `json:"expr"`
	Window      Seconds           `json:"window_seconds,omitempty"` // the longest range of the expression
	Samples     *int64            `json:"sample_count,omitempty"`   // events that the value was made of; nil: not known
	ErrorGroups []ErrorGroup      `json:"error_groups,omitempty"`   // those with the most errors first
	Watermark   *time.Time        `json:"watermark,omitempty"`      // of the tables, when this was said; nil: none yet
	Lag         Seconds           `json:"lag_seconds"`              // of the watermark behind the clock
}

// ErrorGroup is a group of equal errors that may be what an alert is about.
type ErrorGroup struct {
	Fingerprint string   `json:"fingerprint"`
	ErrorType   string   `json:"error_type"`
	Template    string   `json:"template"`
	Count       int64    `json:"count"`
	Traces      []string `json:"trace_ids,omitempty"` // samples
	Links       []string `json:"links,omitempty"`     // to those traces, with where an event of each lies
}

// Seconds is a duration that is written as a number of seconds.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(src []byte) error {
	f, err := strconv.ParseFloat(string(src), 64)
	if err != nil {
		return fmt.Errorf("seconds: %q is no number", src)
	}
	*s = Seconds(math.Round(f * float64(time.Second)))
	return nil
}

// Number is a float that is written as a string when it is not finite: "NaN", "+Inf"
// or "-Inf", as Prometheus does.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(f, 'f', -1, 64)), nil
	}
	return json.Marshal(f)
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(src []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(src), `"`), 64)
	if err != nil {
		return fmt.Errorf("%q is no number", src)
	}
	*n = Number(f)
	return nil
}

// Key returns the key of an alert: the same rule and labels give the same key, others
// another. Labels must hold the rule's name as alertname.
func Key(group string, labels map[string]string) string {
	names := make([]string, 0, len(labels))
	for name := range labels {
		if name != "alertname" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b := strconv.AppendQuote(nil, group)
	b = append(b, ' ')
	b = append(b, labels["alertname"]...)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, name...)
		b = append(b, '=')
		b = strconv.AppendQuote(b, labels[name])
	}
	return string(append(b, '}'))
}

// MarkKey is the key of no alert: its row says, as an alert that never fires, up to when
// evaluations cover all rules.
const MarkKey = "evaluated"

// Mark returns what says that they do up to a time, in Unix milliseconds.
func Mark(at int64) Report { return Report{Evaluation: Evaluation{At: at}} }

// Fingerprint returns a short name of the alert with a key.
func Fingerprint(key string) string { return fmt.Sprintf("%016x", xxh3.HashString(key)) }

// words are how the constants of a type are written.
type words[T ~uint8] struct {
	what string
	list []string
}

func (w words[T]) text(v T) ([]byte, error) {
	if int(v) >= len(w.list) {
		return nil, fmt.Errorf("%s %d does not exist", w.what, v)
	}
	return []byte(w.list[v]), nil
}

func (w words[T]) parse(text []byte) (T, error) {
	i := slices.Index(w.list, string(text))
	if i < 0 {
		return 0, fmt.Errorf("%s is %q: want %s", w.what, text, strings.Join(w.list, ", "))
	}
	return T(i), nil
}

var (
	states   = words[State]{"state", []string{"inactive", "pending", "firing"}}
	outcomes = words[Outcome]{"outcome", []string{"cleared", "breached", "no_data", "withdrawn"}}
	noDatas  = words[NoDataMode]{"no_data", []string{"ok", "firing", "keep"}}
)

// String returns the word for a state.
func (s State) String() string { return states.list[s] }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return states.text(s) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) (err error) {
	*s, err = states.parse(text)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return outcomes.text(o) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(text []byte) (err error) {
	*o, err = outcomes.parse(text)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (m NoDataMode) MarshalText() ([]byte, error) { return noDatas.text(m) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *NoDataMode) UnmarshalText(text []byte) (err error) {
	*m, err = noDatas.parse(text)
	return err
}

// Report is an evaluation and what it is about: a record of the evaluations topic,
// under the key of its alert.
type Report struct {
	Evaluation
	About
}

// report is a Report as it is written.
type report struct {
	Format  int          `json:"format"`
	At      int64        `json:"at"`
	Outcome Outcome      `json:"outcome"`
	Value   Number       `json:"value"`
	Version uint64       `json:"rule_version,string"`
	For     Seconds      `json:"for_seconds,omitempty"`
	Keep    Seconds      `json:"keep_firing_for_seconds,omitempty"`
	NoData  NoDataMode   `json:"no_data"`
	Repeat  Seconds      `json:"repeat_seconds,omitempty"`
	By      []Suppressor `json:"suppressed,omitempty"`
	About   About        `json:"about"`
}

// Append adds the record to dst.
func (r *Report) Append(dst []byte) []byte {
	return mustAppend(dst, report{
		format, r.At, r.Outcome, Number(r.Value),
		r.Rule.Version, Seconds(r.Rule.For), Seconds(r.Rule.KeepFiring), r.Rule.NoData,
		Seconds(r.Repeat), r.Suppressed, r.About,
	})
}

// Decode replaces the report by the one in src.
func (r *Report) Decode(src []byte) error {
	var in report
	if err := decode(src, &in, &in.Format); err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	*r = Report{
		Evaluation{
			At: in.At, Rule: Rule{in.Version, time.Duration(in.For), time.Duration(in.Keep), in.NoData},
			Outcome: in.Outcome, Value: float64(in.Value), Repeat: time.Duration(in.Repeat), Suppressed: in.By,
		},
		in.About,
	}
	return nil
}

// Row is what the table keeps of an alert, under its key.
type Row struct {
	Alert
	About // of the newest evaluation
}

// Take takes in an evaluation and returns what people are to be told; see Alert.Step. It
// reports false when nothing has changed, for the evaluation was known.
func (r *Row) Take(e *Report) (told []Transition, changed bool) {
	before := r.Evaluated
	told = r.Step(e.Evaluation)
	if r.Evaluated == before {
		return nil, false
	}
	if e.Outcome != Withdrawn { // who withdraws a rule knows no more of it than the row
		r.About = e.About
	}
	return told, true
}

// row is a Row as it is written.
type row struct {
	Format    int          `json:"format"`
	State     State        `json:"state"`
	Version   uint64       `json:"rule_version,string"`
	Evaluated int64        `json:"evaluated"`
	Started   int64        `json:"started,omitempty"`
	Fired     int64        `json:"fired,omitempty"`
	Cleared   int64        `json:"cleared,omitempty"`
	Told      int64        `json:"told,omitempty"`
	Tellings  int          `json:"tellings,omitempty"`
	By        []Suppressor `json:"suppressed,omitempty"`
	About     About        `json:"about"`
}

// Append adds the row's bytes to dst.
func (r *Row) Append(dst []byte) []byte {
	a := &r.Alert
	return mustAppend(dst, row{format, a.State, a.Version, a.Evaluated, a.Started, a.Fired, a.Cleared, a.Told, a.Tellings, a.Suppressed, r.About})
}

// Decode replaces the row by the one in src.
func (r *Row) Decode(src []byte) error {
	var in row
	if err := decode(src, &in, &in.Format); err != nil {
		return fmt.Errorf("alert: %w", err)
	}
	*r = Row{Alert{in.State, in.Version, in.Evaluated, in.Started, in.Fired, in.Cleared, in.Told, in.Tellings, in.By}, in.About}
	if r.State == Firing && r.Told == 0 && len(r.Suppressed) == 0 && r.Cleared == 0 {
		r.Told, r.Tellings = r.Fired, 1 // written before it was noted who was told
	}
	return nil
}

func mustAppend(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(dst, b...)
}

// decode reads JSON of the format that is written here.
func decode(src []byte, v any, is *int) error {
	if err := json.Unmarshal(src, v); err != nil {
		return err
	}
	if *is != format {
		return fmt.Errorf("format %d, want %d: it was written by another version of the program", *is, format)
	}
	return nil
}
