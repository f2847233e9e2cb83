package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"ragstreams/metrics"
	"ragstreams/tables"
	"ragstreams/views"
	"ragstreams/window"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// BenchmarkScrapeView is one scrape of 50,000 series over HTTP, from rows as the
// changelog brings them: decoded, collected and written, as text and as Prometheus
// asks for it when it takes native histograms.
func BenchmarkScrapeView(b *testing.B) {
	const series = 50_000
	view := views.New[tables.Latency](views.Options{Panes: window.Panes{Size: 10_000, Grace: 60_000}, Partitions: 1, Assemblers: 1})
	m := latencyOf(5, 10, 80, 125, 900, 2000)
	row := tables.Row[tables.Latency, *tables.Latency]{Total: *m}
	for pane := range int64(7) {
		row.Add(pane*10_000, m)
	}
	value := row.Append(nil)
	for i := range series {
		name := key("tenant", "app", "stage", string(rune(0x4e00+i%20_000))+string(rune('a'+i/20_000)))
		if err := view.Update(0, int64(i), name, value); err != nil {
			b.Fatal(err)
		}
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.Latency(metrics.Table[tables.Latency]{
		View: view, Table: &tables.LatencyTable, Owned: func() map[int32]int64 { return map[int32]int64{0: -1} },
		Recovered: func() float64 { return 1 }, Now: time.Now,
	}))
	handler := promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for name, accept := range map[string]string{
		"text":     "text/plain",
		"protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		b.Run(name, func(b *testing.B) {
			request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			request.Header.Set("Accept", accept)
			b.ReportAllocs()
			var got answer
			for b.Loop() {
				got = answer{header: http.Header{}, status: http.StatusOK}
				handler.ServeHTTP(&got, request)
				if got.status != http.StatusOK {
					b.Fatalf("status %d", got.status)
				}
			}
			if got.bytes < series*100 {
				b.Fatalf("an answer of %d bytes for %d series", got.bytes, series)
			}
			b.ReportMetric(float64(got.bytes), "B/scrape")
		})
	}
}

// answer takes an HTTP response and keeps its status and size.
type answer struct {
	header http.Header
	status int
	bytes  int64
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(p []byte) (int, error) {
	a.bytes += int64(len(p))
	return len(p), nil
}
