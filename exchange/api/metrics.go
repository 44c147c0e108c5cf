package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Metrics are what the exchange counts. Labels are bounded: feeds, routes and
// status codes, never an address.
type Metrics struct {
	registry *prometheus.Registry
	rows     *prometheus.CounterVec
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// Gauge is a figure that is read when it is asked for.
type Gauge struct {
	Name, Help string
	Read       func() float64
}

// NewMetrics makes the exchange's metrics; gauges are added to them.
func NewMetrics(gauges ...Gauge) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_rows_total", Help: "Rows published, by feed and outcome.",
		}, []string{"feed", "outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_http_requests_total", Help: "HTTP requests, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_http_request_seconds", Help: "Time to answer, by route.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.rows, m.requests, m.seconds, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, g := range gauges {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.Name, Help: g.Help}, g.Read))
	}
	return m
}

// receipt counts the rows of a request.
func (m *Metrics) receipt(r *exchange.Receipt) {
	for outcome, n := range map[string]int64{
		"event": r.Events, "rejected": r.Rejected, "duplicate": r.Duplicates, "unclaimed": r.Unclaimed, "withheld": r.Withheld,
	} {
		m.rows.WithLabelValues(r.Feed, outcome).Add(float64(n))
	}
}

// Handler answers with all metrics in Prometheus' text form.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (a *API) metrics(r *request) (any, error) {
	a.Metrics.Handler().ServeHTTP(r.w, r.Request)
	return nil, nil
}

// count wraps a handler to count its requests by the route of the mux.
func (m *Metrics) count(h http.Handler, mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		route := "taxii"
		if own(r.URL.Path) {
			_, route = mux.Handler(r)
		}
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(s, r)
		m.requests.WithLabelValues(route, strconv.Itoa(s.status)).Inc()
		m.seconds.WithLabelValues(route).Observe(time.Since(start).Seconds())
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
