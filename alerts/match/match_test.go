package match_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ragstreams/alerts/match"
)

func TestMatch(t *testing.T) {
	of := map[string]string{"severity": "page", "tenant": "acme", "empty": ""}
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`severity="page"`, true},
		{`severity=page`, true},
		{`{severity="page"}`, true},
		{`severity="warning"`, false},
		{`severity!="warning"`, true},
		{`tenant=~"ac.*"`, true},
		{`tenant=~"ac"`, false},
		{`tenant=~"x|acme"`, true},
		{`tenant!~"ac.*"`, false},
		{`severity="page", tenant="acme"`, true},
		{`severity="page", tenant="initech"`, false},
		{`app=""`, true},
		{`app!=""`, false},
		{`empty=""`, true},
		{`app=~".*"`, true},
	} {
		m, err := match.Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := m.Match(of); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.text, got, tt.want)
		}
		again, err := match.Parse(m.String())
		if err != nil || !again.Equal(m) {
			t.Errorf("%s: read again as %s (%v)", tt.text, again, err)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back match.Matchers
		if err := json.Unmarshal(b, &back); err != nil || !back.Equal(m) || back.Match(of) != tt.want {
			t.Errorf("%s: %s is read as %s (%v)", tt.text, b, back, err)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, text := range []string{`severity`, `a="b`, `a=~"("`, `="b"`} {
		if m, err := match.Parse(text); err == nil || !strings.Contains(err.Error(), "name=~regex") {
			t.Errorf("%s is taken for %s (%v)", text, m, err)
		}
	}
	var m match.Matchers
	for _, src := range []string{`[null]`, `[{"value":"x"}]`, `{}`, `[{"name":"a","value":"(","isRegex":true}]`} {
		if err := json.Unmarshal([]byte(src), &m); err == nil {
			t.Errorf("%s is taken for %s", src, m)
		}
	}
}

func TestMatchEmptyAndEqual(t *testing.T) {
	parse := func(text string) match.Matchers {
		m, err := match.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for text, want := range map[string]bool{`a=""`: true, `a=~".*"`: true, `a!="b"`: true, `a="", b="c"`: false, `b=~".+"`: false} {
		if got := parse(text).MatchEmpty(); got != want {
			t.Errorf("%s matches an alert without labels: %v", text, got)
		}
	}
	if !parse(`a="1",b="2"`).Equal(parse(`b="2",a="1"`)) || parse(`a="1"`).Equal(parse(`a!="1"`)) || parse(`a="1"`).Equal(parse(`a="1",b="2"`)) {
		t.Error("matchers are equal whatever their order, and only then")
	}
	if both := parse(`a="1"`).And(parse(`b="2"`)); !both.Equal(parse(`a="1",b="2"`)) {
		t.Errorf("both: %s", both)
	}
}
