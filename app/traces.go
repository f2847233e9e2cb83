package app

import (
	"context"
	"net/http"
	"time"

	"ragstreams/kafka"
	"ragstreams/tables"
	"ragstreams/traces"
	"ragstreams/traces/api"
	"ragstreams/views"
)

// Bounds of a search for a trace.
const (
	traceRecords = 5_000_000
	traceFor     = 20 * time.Second
)

// Traces returns what finds traces in the source topics of a deployment, whether it runs or
// not. close must be called.
func Traces(o Options) (f *traces.Finder, close func(), err error) {
	reader, err := kafka.NewScanner(o.Kafka)
	if err != nil {
		return nil, nil, err
	}
	return &traces.Finder{Log: sourceLog{reader, o.Sources}, MaxBytes: o.MaxRecord, Records: traceRecords, For: traceFor}, reader.Close, nil
}

// sourceLog reads source topics.
type sourceLog struct {
	reader *kafka.Scanner
	topics []string
}

// Ranges implements traces.Log.
func (l sourceLog) Ranges(ctx context.Context, from, to time.Time) (parts traces.Parts, held bool, err error) {
	found, held, err := l.reader.Ranges(ctx, l.topics, from, to)
	parts = traces.Parts{}
	for topic, spans := range found {
		parts[topic] = map[int32]traces.Span{}
		for p, s := range spans {
			parts[topic][p] = traces.Span(s)
		}
	}
	return parts, held, err
}

// Topics implements traces.Log.
func (l sourceLog) Topics() []string { return l.topics }

// Scan implements traces.Log.
func (l sourceLog) Scan(ctx context.Context, parts traces.Parts, may func(data []byte) bool, visit func(*traces.Record) error) (traces.Read, error) {
	spans := map[string]map[int32]kafka.Span{}
	for topic, of := range parts {
		spans[topic] = map[int32]kafka.Span{}
		for p, s := range of {
			spans[topic][p] = kafka.Span(s)
		}
	}
	read, err := l.reader.Scan(ctx, spans, may, func(m *kafka.Message) error {
		return visit(&traces.Record{
			Place:     traces.Place{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset},
			Timestamp: time.UnixMilli(m.Timestamp), Value: m.Value,
		})
	})
	return traces.Read(read), err
}

// tracesHandler serves traces; hints are those of the tables. close must be called.
func tracesHandler(o *Options, r *readers) (h http.Handler, close func(), err error) {
	f, close, err := Traces(*o)
	if err != nil {
		return nil, nil, err
	}
	return api.Handler(api.Options{Finder: f, Hint: r.traceHint, Content: o.HTTPContent}), close, nil
}

// traceHint returns where an event of a trace lies, which samples of errors know, or when it
// was, which exemplars of latencies do. Errors are asked first, all of them: they are far fewer,
// and tell the place.
func (r *readers) traceHint(id string) (at *traces.Place, around time.Time) {
	err := everySeries(r.errors, func(e *tables.Errors) {
		for _, s := range []tables.Sample{e.Newest, e.Slowest} {
			if s.TraceID == id && s.Topic != "" {
				at = &traces.Place{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset}
			}
		}
	})
	if err == nil && at == nil {
		err = everySeries(r.latency, func(l *tables.Latency) {
			for _, x := range []tables.Exemplar{l.Newest, l.Slowest} {
				if x.TraceID == id {
					around = time.UnixMilli(x.Time)
				}
			}
		})
	}
	if err != nil {
		r.stages.o.Logger.Warn("samples cannot be read, so a trace is searched for without a hint", "error", err)
	}
	return at, around
}

// everySeries visits what every series of a table counted since it exists.
func everySeries[M any, P tables.Measure[M]](v *views.View[M, P], visit func(sum *M)) error {
	for p := range v.Partitions() {
		if err := v.Series(p, func(_ string, sum *M) { visit(sum) }); err != nil {
			return err
		}
	}
	return nil
}
