package codecs_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ragstreams/codecs"
	"ragstreams/event"
)

// twin is the JSON codec written the obvious way: encoding/json into maps,
// exact rationals, package time. It is slow and shares no code with the codec.
func twin(value []byte) (event.Event, codecs.Reason) {
	var e event.Event
	if len(value) > codecs.DefaultMaxBytes {
		return e, codecs.ReasonTooLarge
	}
	trimmed := bytes.Trim(value, " \t\r\n")
	if len(trimmed) == 0 {
		return e, codecs.ReasonEmpty
	}
	if !json.Valid(value) {
		return e, codecs.ReasonSyntax
	}
	if trimmed[0] != '{' {
		return e, codecs.ReasonWrongType
	}
	reason := twinFields(membersOf(trimmed), &e)
	if reason != "" {
		return event.Event{}, reason
	}
	return e, ""
}

func twinFields(record members, e *event.Event) codecs.Reason {
	bad := false
	text := func(m members, name string) []byte {
		switch v := m.get(name).(type) {
		case nil:
		case string:
			return []byte(v)
		default:
			bad = true
		}
		return nil
	}
	id := func(name string) []byte {
		if v, ok := record.get(name).(json.Number); ok {
			return []byte(v)
		}
		return text(record, name)
	}
	nanos := func(name string, unit int64) (int64, bool) {
		switch v := record.get(name).(type) {
		case nil:
		case json.Number:
			if r := rational(v); r.Sign() >= 0 {
				if n := floor(r.Mul(r, big.NewRat(unit, 1))); n.Cmp(big.NewInt(int64(30*24*time.Hour))) <= 0 {
					return n.Int64(), true
				}
			}
			bad = true
		default:
			bad = true
		}
		return 0, false
	}

	e.Type = text(record, "event_type")
	e.Tenant, e.App = text(record, "tenant"), text(record, "app")
	e.Stage, e.Model = text(record, "stage"), text(record, "model")
	if bad {
		return codecs.ReasonWrongType
	}
	if len(e.Type) == 0 {
		return codecs.ReasonMissingField
	}
	e.ID, e.TraceID, e.SessionID, e.UserID = id("event_id"), id("trace_id"), id("session_id"), id("user_id")
	if len(e.Stage) == 0 {
		e.Stage = event.StageOf(e.Type)
	}

	switch v := record.get("timestamp").(type) {
	case nil:
	case json.Number:
		e.Time, e.HasTime = twinEpoch(v)
		bad = bad || !e.HasTime
	case string:
		if jsonNumber.MatchString(v) {
			e.Time, e.HasTime = twinEpoch(json.Number(v))
		} else {
			e.Time, e.HasTime = twinRFC3339(v)
		}
		bad = bad || !e.HasTime
	default:
		bad = true
	}

	latencyMs, hasLatencyMs := nanos("latency_ms", 1e6)
	durationMs, hasDurationMs := nanos("duration_ms", 1e6)
	duration, hasDuration := nanos("duration", 1e9)
	switch {
	case hasLatencyMs:
		e.Duration, e.HasDuration = latencyMs, true
	case hasDurationMs:
		e.Duration, e.HasDuration = durationMs, true
	case hasDuration:
		e.Duration, e.HasDuration = duration, true
	}
	e.TTFT, e.HasTTFT = nanos("ttft_ms", 1e6)

	switch v := record.get("tokens").(type) {
	case nil:
	case members:
		for name, to := range map[string]*int64{"input": &e.InputTokens, "output": &e.OutputTokens} {
			switch n := v.get(name).(type) {
			case nil:
			case json.Number:
				r := rational(n)
				if !r.IsInt() || r.Sign() < 0 || r.Cmp(big.NewRat(1<<53, 1)) > 0 {
					bad = true
					continue
				}
				*to = r.Num().Int64()
			default:
				bad = true
			}
		}
	default:
		bad = true
	}

	status := string(text(record, "status"))
	isASCII := !strings.ContainsFunc(status, func(r rune) bool { return r > 127 })
	statusOK := isASCII && slices.Contains([]string{"", "ok", "success", "unset"}, strings.ToLower(status))
	switch v := record.get("error").(type) {
	case nil:
	case bool:
		e.Error = v
	case string:
		e.ErrorMessage = []byte(v)
	case members:
		e.ErrorType, e.ErrorMessage, e.ErrorStack = text(v, "type"), text(v, "message"), text(v, "stack")
	default:
		bad = true
	}
	for _, s := range [][]byte{e.ErrorType, e.ErrorMessage, e.ErrorStack} {
		e.Error = e.Error || len(s) > 0
	}
	e.Error = e.Error || !statusOK || string(e.Type) == "error_event"
	if bad {
		return codecs.ReasonWrongType
	}
	return ""
}

// members are those of a JSON object.
type members map[string]json.RawMessage

func membersOf(raw []byte) members {
	var m members
	if err := json.Unmarshal(raw, &m); err != nil {
		panic("BUG: checked before: " + err.Error())
	}
	return m
}

// get returns a member as nil, bool, string, json.Number or members; an array
// as []any.
func (m members) get(name string) any {
	raw := bytes.Trim(m[name], " \t\r\n")
	if len(raw) > 0 && raw[0] == '{' {
		return membersOf(raw)
	}
	if len(raw) > 0 && raw[0] == '[' {
		return []any{}
	}
	var v any
	if len(raw) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			panic("BUG: checked before: " + err.Error())
		}
	}
	return v
}

var jsonNumber = regexp.MustCompile(`\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\z`)

// rational returns the exact value of a number; one so large or so small that
// no field takes or tells it becomes 1e40 or 1e-40.
func rational(n json.Number) *big.Rat {
	f, _ := strconv.ParseFloat(string(n), 64)
	sign := int64(1)
	if strings.HasPrefix(string(n), "-") {
		sign, f = -1, -f
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(string(n)), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		return new(big.Rat)
	}
	huge := new(big.Int).Exp(big.NewInt(10), big.NewInt(40), nil)
	switch {
	case f > 1e40:
		return new(big.Rat).SetFrac(huge.Mul(huge, big.NewInt(sign)), big.NewInt(1))
	case f < 1e-40:
		return new(big.Rat).SetFrac(big.NewInt(sign), huge)
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic("BUG: not a number: " + string(n))
	}
	return r
}

func floor(r *big.Rat) *big.Int { return new(big.Int).Div(r.Num(), r.Denom()) }

func inYears(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() <= 2261 }

func twinEpoch(n json.Number) (int64, bool) {
	r := rational(n)
	unit := int64(1e9) // of the unit, ns
	for _, threshold := range []int64{1e11, 1e14, 1e17} {
		if r.Cmp(big.NewRat(threshold, 1)) < 0 {
			break
		}
		unit /= 1000
	}
	ms := floor(r.Mul(r, big.NewRat(unit, 1e6)))
	if !ms.IsInt64() {
		return 0, false
	}
	return ms.Int64(), inYears(time.UnixMilli(ms.Int64()))
}

var rfc3339 = regexp.MustCompile(
	`\A([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})\z`)

func twinRFC3339(s string) (int64, bool) {
	m := rfc3339.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	leap := m[6] == "60"
	if leap {
		m[6] = "59"
	}
	zone := strings.ToUpper(m[8])
	if zone != "Z" && (zone[1:3] > "23" || zone[4:] > "59") {
		return 0, false
	}
	day, err := time.Parse("2006-01-02T15:04:05Z", m[1]+"-"+m[2]+"-"+m[3]+"T"+m[4]+":"+m[5]+":"+m[6]+"Z")
	if err != nil {
		return 0, false
	}
	if zone != "Z" {
		back, err := time.ParseDuration(zone[:3] + "h" + zone[4:] + "m")
		if err != nil {
			panic("BUG: " + err.Error())
		}
		day = day.Add(-back)
	}
	if leap {
		if day.Format("15:04:05") != "23:59:59" {
			return 0, false
		}
		day = day.Add(time.Second)
	}
	fraction, err := strconv.Atoi((strings.TrimPrefix(m[7], ".") + "000")[:3])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	day = day.Add(time.Duration(fraction) * time.Millisecond)
	return day.UnixMilli(), inYears(day)
}
