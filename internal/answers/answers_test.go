package answers_test

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"ragstreams/internal/answers"
)

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-01T13:00:00.5+01:00": "2026-03-01T12:00:00.500Z",
		"1772366400":                  "2026-03-01T12:00:00.000Z",
		"1772366400.25":               "2026-03-01T12:00:00.250Z",
		"noon":                        "",
		"":                            "",
		"1772366400000":               "", // milliseconds
		"NaN":                         "",
	} {
		got, err := answers.ParseTime(text)
		if (err == nil) != (want != "") || err == nil && answers.Stamp(got) != want {
			t.Errorf("%q: %s, %v, want %q", text, answers.Stamp(got), err, want)
		}
	}
}

func TestQuery(t *testing.T) {
	for query, want := range map[string]string{
		"a=1&b=%25+%3B&a=2": `{"a":["1","2"],"b":["% ;"]}`,
		"":                  "{}",
		"a=%&b=1":           "",
		"a=%zz":             "",
		"%=1":               "",
		"a=1;b=2":           "",
		"a=1;&b=2":          "",
	} {
		got, err := answers.Query(&http.Request{URL: &url.URL{RawQuery: query}})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), strconv.Quote(query)) || got != nil {
				t.Errorf("%q: %v, %v, want an error that tells it", query, got, err)
			}
			continue
		}
		if data, _ := json.Marshal(got); err != nil || string(data) != want {
			t.Errorf("%q: %s, %v, want %s", query, data, err, want)
		}
	}
}

func TestWhatHasNoJSON(t *testing.T) {
	w := httptest.NewRecorder()
	answers.Write(w, 200, math.NaN())
	if w.Code != 500 || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
