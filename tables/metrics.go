package tables

import "math"

// Names of the metrics that tables are shown as. Each has the dimensions of its table
// as labels. They are a contract with everyone who has a dashboard or a rule.
const (
	MetricEvents    = "rag_events_total"
	MetricDuration  = "rag_stage_duration_seconds"
	MetricTTFT      = "rag_time_to_first_token_seconds"
	MetricRequests  = "rag_model_requests_total"
	MetricTokens    = "rag_tokens_total"
	MetricBehaviour = "rag_behaviour_events_total"
	MetricErrors    = "rag_error_group_events_total"
)

// Types of tokens, the label `type` of MetricTokens, as in OpenTelemetry's gen_ai.token.type.
const (
	TokensInput  = "input"
	TokensOutput = "output"
)

// ClassicBounds are the upper bounds of the classic buckets of histograms, in seconds:
// powers of two from 7.8 ms to 64 s, at which Histogram.CumulativeLE is exact.
var ClassicBounds = func() (bounds []float64) {
	for e := -7; e <= 6; e++ {
		bounds = append(bounds, math.Ldexp(1, e))
	}
	return bounds
}()
