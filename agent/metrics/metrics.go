// Package metrics shows the last report as Prometheus metrics.
//
// Nothing is collected while Prometheus waits: [Metrics.Observe] turns a report
// into a finished page, and a scrape copies that page. So a scrape never sees
// half of one round and half of another, costs the machine nothing, and cannot
// be used to make the agent work.
//
// Gauges are made anew from each report. Counters live here, because the facts
// they count do not last: a flow's row goes when its program ends, and its bytes
// must not. Each report says what every row grew by.
//
// A metrics page is read by more people than a report is. No address, port,
// process id, user, path or host name may be a label value; label sets are
// closed, or admit the first few values and count the rest as "other".
package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cityward/agent"
)

// Metrics holds what the next scrape is given.
type Metrics struct {
	families *families
	registry *prometheus.Registry
	build    []string // label values of cityward_build_info
	current  atomic.Pointer[[]prometheus.Metric]

	observing sync.Mutex // guards what follows
	counters  *counters
	took      time.Duration // the last full round
}

// New returns metrics that know the build and nothing else yet.
func New(version, revision, goversion string) *Metrics {
	m := &Metrics{
		families: newFamilies(),
		registry: prometheus.NewRegistry(),
		build:    []string{version, revision, goversion},
		counters: newCounters(),
	}
	first := newPage(0)
	first.gauge(m.families.buildInfo, 1, m.build...)
	m.current.Store(&first.metrics)
	m.registry.MustRegister(m,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry is where a scrape gathers: these metrics and those of the Go runtime
// and of the agent's own process.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Observe shows a report from now on. Every finished round, full or short, must
// pass here, in order and once, or the counters miss bytes.
func (m *Metrics) Observe(report *agent.Report) {
	m.observing.Lock()
	defer m.observing.Unlock()

	m.counters.observe(report)
	if !report.Short {
		m.took = report.Duration
	}
	next := newPage(len(*m.current.Load()))
	next.gauge(m.families.buildInfo, 1, m.build...)
	next.report(m.families, report, m.took)
	next.machine(m.families, report.Snapshot)
	next.checks(m.families, report)
	next.software(m.families, report.Snapshot)
	next.custody(m.families, report)
	next.counters(m.families, m.counters)
	m.current.Store(&next.metrics)
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) { m.families.describe(descs) }

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, metric := range *m.current.Load() {
		metrics <- metric
	}
}
