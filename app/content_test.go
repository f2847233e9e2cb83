package app

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// What records hold is shown over HTTP where http.content says so, and nowhere else.
func TestContentIsShownOnlyWhereItMay(t *testing.T) {
	const trace, poison = `{"event_type":"user_query","event_id":"1","trace_id":"t-1","user_id":"alice","query":"where is my salary?"}`, `{"event_type":7,"query":"where is my salary?"}`
	for _, content := range []bool{false, true} {
		o := testOptions(t)
		o.HTTPContent = content
		c := start(t, o)
		send(t, &o, o.Sources[0], trace, poison)
		awaitOutcomes(t, c, map[string]int64{"in": 2, "counted": 1, "poison/wrong_type": 1})
		for _, path := range []string{"/api/traces/t-1", "/api/traces/t-1?at=" + o.Sources[0] + "/0@0", "/api/dlq", "/api/dlq/0/0"} {
			response, err := http.Get(c.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d %s, %v", path, response.StatusCode, body, err)
			}
			if shown := strings.Contains(string(body), "salary"); shown != (content && path != "/api/dlq") {
				t.Errorf("http.content %v: %s answers %s", content, path, body)
			}
		}
	}
}
