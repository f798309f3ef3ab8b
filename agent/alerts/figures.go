package alerts

import "github.com/prometheus/client_golang/prometheus"

// families are the metrics of this room. A receiver is known by its configured
// name, never by its address.
type families struct{ sent, failed, pending, dropped, success *prometheus.Desc }

func describe() families {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("cityward_alerts_"+name, help, []string{"receiver"}, nil)
	}
	return families{
		desc("sent_total", "Alerts that the receiver took, begins and ends of findings; repeats do not count."),
		desc("failed_total", "Requests to the receiver that failed; what they held waits and is sent again."),
		desc("pending", "Alerts that wait for the receiver to take them."),
		desc("dropped_total", "Alerts that the receiver was never told of: too many, or waiting for too long."),
		desc("last_success_timestamp_seconds", "When the receiver last took something in this run of the daemon, in Unix time; 0 if it has not."),
	}
}

// Describe implements [prometheus.Collector].
func (r *Room) Describe(out chan<- *prometheus.Desc) {
	f := describe()
	for _, desc := range []*prometheus.Desc{f.sent, f.failed, f.pending, f.dropped, f.success} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (r *Room) Collect(out chan<- prometheus.Metric) {
	families := describe()
	lines, over := r.all()
	for _, l := range lines {
		f, name := l.figures(r.Now()), l.receiver.Name
		success := 0.0
		if !f.success.IsZero() {
			success = float64(f.success.UnixMilli()) / 1e3
		}
		out <- prometheus.MustNewConstMetric(families.sent, prometheus.CounterValue, float64(f.sent), name)
		out <- prometheus.MustNewConstMetric(families.failed, prometheus.CounterValue, float64(f.failed), name)
		out <- prometheus.MustNewConstMetric(families.pending, prometheus.GaugeValue, float64(f.pending), name)
		out <- prometheus.MustNewConstMetric(families.dropped, prometheus.CounterValue, float64(f.dropped+over), name)
		out <- prometheus.MustNewConstMetric(families.success, prometheus.GaugeValue, success, name)
	}
}
