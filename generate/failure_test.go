package generate

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"testing"
)

// TestMessagesOfAKindDifferOnlyInDetails replaces, roughly as a consumer
// would, what is quoted and every word with a digit in it.
func TestMessagesOfAKindDifferOnlyInDetails(t *testing.T) {
	detail := regexp.MustCompile(`"[^"]*"|'[^']*'|[\w.:-]*\d[\w.:-]*|\b[0-9a-f]{8}-[0-9a-f-]{27}`)
	rng := rand.New(rand.NewPCG(1, 1))
	owner := map[string]string{} // kind by event type, error type and template
	for event, kinds := range parseKinds() {
		for _, k := range kinds {
			distinct := map[string]bool{}
			for range 50 {
				var message, stack string
				quoted := append(k.append([]byte{'"'}, rng), '"')
				if err := json.Unmarshal(quoted, &message); err != nil {
					t.Fatalf("message %s of %s: %v", quoted, k.name, err)
				}
				if err := json.Unmarshal([]byte(`"`+k.stack+`"`), &stack); err != nil {
					t.Fatalf("stack of %s: %v", k.name, err)
				}
				distinct[message] = true
				template := event + k.errorType + detail.ReplaceAllString(message, "*")
				if other, known := owner[template]; known && other != k.name {
					t.Fatalf("%s and %s share the message %q", other, k.name, template)
				}
				owner[template] = k.name
			}
			if len(distinct) < 5 {
				t.Errorf("%s: %d different messages of 50, want more", k.name, len(distinct))
			}
		}
	}
	kinds := map[string]int{}
	for template, name := range owner {
		kinds[name]++
		if kinds[name] > 1 {
			t.Errorf("%s has several templates, one is %q", name, template)
		}
	}
}

func TestPaneStart(t *testing.T) {
	for _, tt := range []struct{ at, pane, want int64 }{
		{0, 10, 0}, {9, 10, 0}, {10, 10, 10}, {-1, 10, -10}, {-10, 10, -10}, {25, 7, 21},
	} {
		if got := paneStart(tt.at, tt.pane); got != tt.want {
			t.Errorf("paneStart(%d, %d) = %d, want %d", tt.at, tt.pane, got, tt.want)
		}
	}
}
