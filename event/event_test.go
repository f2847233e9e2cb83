package event_test

import (
	"reflect"
	"testing"

	"ragstreams/event"
)

func TestRoutingKey(t *testing.T) {
	id := func(s string) []byte { return []byte(s) }
	tests := []struct {
		name string
		e    event.Event
		want string
	}{
		{"the trace comes first", event.Event{TraceID: id("t"), SessionID: id("s"), ID: id("e")}, "t"},
		{"then the session", event.Event{TraceID: id(""), SessionID: id("s"), ID: id("e")}, "s"},
		{"then the event itself", event.Event{ID: id("e"), UserID: id("u")}, "e"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.e.RoutingKey(); string(got) != tt.want {
				t.Errorf("RoutingKey() = %q, want %q", got, tt.want)
			}
		})
	}
	anonymous := event.Event{UserID: id("u"), ID: id("")}
	if got := anonymous.RoutingKey(); got != nil {
		t.Errorf("RoutingKey() of an event without ids = %q, want nil", got)
	}
}

func TestResetForgetsEveryField(t *testing.T) {
	var e event.Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Slice:
			f.SetBytes([]byte("x"))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int64:
			f.SetInt(1)
		default:
			t.Fatalf("field %s has kind %s", v.Type().Field(i).Name, f.Kind())
		}
	}
	e.Reset()
	if !v.IsZero() {
		t.Errorf("after Reset: %+v, want the zero Event", e)
	}
}

func TestStageOf(t *testing.T) {
	tests := map[string]string{
		"llm_call_started":        "generate",
		"llm_call_completed":      "generate",
		"llm_call_failed":         "generate",
		"generation_completed":    "generate",
		"answer_generated":        "generate",
		"answer_returned":         "generate",
		"retrieval_started":       "retrieval",
		"retrieval_completed":     "retrieval",
		"retriever_failed":        "retrieval",
		"rerank_completed":        "rerank",
		"reranking_started":       "rerank",
		"embedding_completed":     "embedding",
		"tool_call_started":       "tool",
		"tool_failed":             "tool",
		"user_query":              "query",
		"rewrite_completed":       "rewrite",
		"query_rewrite_completed": "rewrite",
		"index_completed":         "index",
		"citation_completed":      "citation",

		"answer_liked":     "answer_liked",
		"citation_clicked": "citation_clicked",
		"query_submitted":  "query_submitted",
		"page_view":        "page_view",
		"retrieval":        "retrieval",
		"llm":              "llm",
		"toolbox_opened":   "toolbox_opened",
		"error_event":      "error_event",
		"LLM_call_started": "LLM_call_started",
		"_":                "_",
		"":                 "",
	}
	for eventType, want := range tests {
		if got := event.StageOf([]byte(eventType)); string(got) != want {
			t.Errorf("StageOf(%q) = %q, want %q", eventType, got, want)
		}
	}
}
