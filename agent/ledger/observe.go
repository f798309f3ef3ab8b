package ledger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cityward/agent"
)

// Observe remembers a report. Every finished round, full or short, must pass here,
// in order and once. It never waits for the disk.
func (l *Ledger) Observe(r *agent.Report) {
	at := r.Snapshot.Taken.UTC().Truncate(time.Millisecond)
	l.mu.Lock()
	l.hours.observe(at, r, func(flow *Flow) {
		l.add(at, KindFlow, flow)
		l.reset = true
	})
	l.lives.observe(at, r, l.add)
	l.seen, l.began = at, true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // it is told already
	}
}

// descs are the metrics of this room.
func descs() (bytes, failed, rows *prometheus.Desc) {
	return prometheus.NewDesc("cityward_ledger_bytes", "Size of the ledger's files.", nil, nil),
		prometheus.NewDesc("cityward_ledger_writes_failed_total", "Attempts to write the ledger that failed; what they would have written waits in memory.", nil, nil),
		prometheus.NewDesc("cityward_ledger_rows_total",
			"Number of the last row that was written to the ledger, over all restarts. A ledger that was put back to an older state shows by it.", nil, nil)
}

// Describe implements [prometheus.Collector].
func (l *Ledger) Describe(out chan<- *prometheus.Desc) {
	bytes, failed, rows := descs()
	out <- bytes
	out <- failed
	out <- rows
}

// Collect implements [prometheus.Collector].
func (l *Ledger) Collect(out chan<- prometheus.Metric) {
	bytes, failed, rows := descs()
	out <- prometheus.MustNewConstMetric(bytes, prometheus.GaugeValue, float64(l.bytes.Load()))
	out <- prometheus.MustNewConstMetric(failed, prometheus.CounterValue, float64(l.failed.Load()))
	out <- prometheus.MustNewConstMetric(rows, prometheus.CounterValue, float64(l.last.Load()))
}
