package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	all := contestants(new(program), "peers", 1000)
	tests := []struct {
		name, only    string
		there         bool // the scripts
		want, leftOut string
		err           string
	}{
		{"all", "", true, "ragstreams,streams,flink,goka,franz,sarama", "", ""},
		{"without scripts", "", false, "ragstreams,goka,franz,sarama", "peers/kafka-streams-baseline/run.sh,peers/flink-baseline/run.sh", ""},
		{"some, in our order", "goka,ragstreams", false, "ragstreams,goka", "", ""},
		{"one by its script", "flink", true, "flink", "", ""},
		{"a missing script that is asked for", "ragstreams,flink", false, "", "", "-peers"},
		{"nobody of that name", "gokka", true, "", "", `there is no "gokka", only ragstreams,`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chosen, leftOut, err := choose(all, tt.only, func(string) bool { return tt.there })
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("choose(%q) failed with %v, want %q", tt.only, err, tt.err)
			}
			var names []string
			for _, one := range chosen {
				names = append(names, one.short)
			}
			if got := strings.Join(names, ","); got != tt.want {
				t.Errorf("choose(%q) = %s, want %s", tt.only, got, tt.want)
			}
			var want []string
			if tt.leftOut != "" {
				want = strings.Split(tt.leftOut, ",")
			}
			if !slices.EqualFunc(leftOut, want, strings.Contains) {
				t.Errorf("choose(%q) leaves out %q, want one line each about %q", tt.only, leftOut, want)
			}
		})
	}
}

// drains is a contestant that gives the same every time.
func drains(short string, late int64, turns *[]string) contestant {
	return contestant{
		short: short, name: short,
		drain: func(context.Context, string) (figures, error) {
			*turns = append(*turns, short)
			return figures{1, 1, 1, 1}, nil
		},
		late: func(context.Context, string) (int64, error) {
			*turns = append(*turns, "late "+short)
			return late, nil
		},
	}
}

func TestContestTakesTurns(t *testing.T) {
	var turns []string
	without := drains("b", 0, &turns)
	without.late = nil
	results, losses, err := contest(t.Context(), io.Discard, []contestant{drains(ours, 0, &turns), without, drains("c", 7, &turns)}, 2, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := "ragstreams ragstreams b c ragstreams b c late ragstreams late c late ragstreams late c"
	if got := strings.Join(turns, " "); got != want {
		t.Errorf("turns are %s, want %s", got, want)
	}
	if len(results) != 3 || len(results[2].runs) != 2 || results[2].name != "c" {
		t.Errorf("results = %+v, want two runs of each", results)
	}
	if len(losses) != 2 || losses[1].name != "c" || !slices.Equal(losses[1].late, []int64{7, 7}) {
		t.Errorf("losses = %+v, want 7 twice for c", losses)
	}
}

func TestContestFailsWhenOursDropsEvents(t *testing.T) {
	var turns []string
	if _, _, err := contest(t.Context(), io.Discard, []contestant{drains(ours, 1, &turns)}, 1, 100); err == nil || !strings.Contains(err.Error(), "1 of 100 events late") {
		t.Errorf("contest failed with %v, want the event that was dropped", err)
	}
}
