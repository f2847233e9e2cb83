// Package answers is what all HTTP surfaces have in common: how an answer in JSON is
// written, what an error looks like, and how parameters and times are read.
package answers

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Problem is the body of every error.
type Problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint"` // what is accepted, or what to do next
}

// Fail answers with a Problem.
func Fail(w http.ResponseWriter, code int, text, hint string) { Write(w, code, Problem{text, hint}) }

// Write answers with a body as JSON.
func Write(w http.ResponseWriter, code int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		code = http.StatusInternalServerError
		data, _ = json.Marshal(Problem{"the answer cannot be written as JSON: " + err.Error(), "this is a mistake of the program: report it"})
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write(append(data, '\n'))
}

// HowToEscape is the hint for parameters that cannot be read.
const HowToEscape = "write % as %25, ; as %3B, & as %26 and + as %2B in a value"

// Query returns the parameters of a request. One that cannot be read is an error, where
// r.URL.Query leaves it out: without a filter that was asked for, the answer is another one.
func Query(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("read parameters %q: %w", r.URL.RawQuery, err)
	}
	return values, nil
}

// Stamp writes a time.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// ParseTime reads a time as RFC 3339 or Unix seconds, to the millisecond.
func ParseTime(text string) (time.Time, error) {
	if s, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(s) < 1e11 {
		return time.UnixMilli(int64(math.Round(s * 1000))), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("%q is no time: give one such as 2026-01-02T15:04:05Z, or Unix seconds", text)
	}
	return t, nil
}
