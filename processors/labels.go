package processors

import (
	"bytes"
	"unicode/utf8"

	"ragstreams/event"
	"ragstreams/tables"
)

// DefaultLabelBytes is the longest label when IngestConfig.LabelBytes is 0. Names
// of tenants, stages and models are far shorter; what is longer is most likely
// text in the wrong field.
const DefaultLabelBytes = 256

// MinLabelBytes and MaxLabelBytes bound IngestConfig.LabelBytes. With the greatest
// a series' name is at most 20 KiB, which leaves records below maxSent.
const (
	MinLabelBytes = 16
	MaxLabelBytes = 4096
)

// ellipsis ends a label that was cut.
const ellipsis = "…"

// label is a text of an event whose length is bounded. It is a metric label: the
// set is closed.
type label int

const (
	labelTenant label = iota
	labelApp
	labelStage
	labelEventType
	labelModel
	labelErrorType
	labelTraceID
	labelCount
)

// Labels are the texts of an event whose length is bounded, as
// IngestConfig.LabelsCut names them.
var Labels = [labelCount]string{"tenant", "app", "stage", "event_type", "model", "error_type", "trace_id"}

// labels bounds the length of what an event is called. A producer may put a
// megabyte into any field; as part of a series' name it would make records that no
// broker takes. Values that are equal up to the cut share a series.
type labels struct {
	max int               // bytes
	cut [labelCount]int64 // values since the last flush
}

// limit cuts what is too long in e, which must not be asked for its identity any
// more: that is made of whole values. A trace id is left out, since one cut short
// points nowhere. An event within the limits costs a few comparisons.
func (l *labels) limit(e *event.Event) {
	if max(len(e.Tenant), len(e.App), len(e.Stage), len(e.Type), len(e.Model), len(e.ErrorType)) > l.max {
		l.one(&e.Tenant, labelTenant)
		l.one(&e.App, labelApp)
		l.one(&e.Stage, labelStage)
		l.one(&e.Type, labelEventType)
		l.one(&e.Model, labelModel)
		l.one(&e.ErrorType, labelErrorType)
	}
	if len(e.TraceID) > tables.MaxTraceID {
		e.TraceID = nil
		l.cut[labelTraceID]++
	}
}

func (l *labels) one(value *[]byte, as label) {
	if len(*value) > l.max {
		*value = shorten(*value, l.max)
		l.cut[as]++
	}
}

// tell hands on what was cut since it was called last.
func (l *labels) tell(to func(label string, n int64)) {
	for i, n := range l.cut {
		if n > 0 && to != nil {
			to(Labels[i], n)
		}
	}
	l.cut = [labelCount]int64{}
}

// shorten returns at most limit bytes of a text, an ellipsis at the end when it
// was longer. It leaves no half character at the cut, and text as it was.
func shorten(text []byte, limit int) []byte {
	if len(text) <= limit {
		return text
	}
	end := limit - len(ellipsis)
	for i := 1; i < utf8.UTFMax && end > 0 && !utf8.RuneStart(text[end]); i++ {
		end--
	}
	return append(bytes.Clone(text[:end]), ellipsis...)
}
