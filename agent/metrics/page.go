package metrics

import (
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
)

// page is one scrape in the making.
type page struct {
	metrics []prometheus.Metric
	seen    map[series]struct{}
}

type series struct {
	desc   *prometheus.Desc
	labels string
}

func newPage(size int) *page {
	return &page{metrics: make([]prometheus.Metric, 0, size), seen: make(map[series]struct{}, size)}
}

func (p *page) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	p.add(desc, prometheus.GaugeValue, value, labels)
}

func (p *page) counter(desc *prometheus.Desc, value uint64, labels ...string) {
	p.add(desc, prometheus.CounterValue, float64(value), labels)
}

// add puts a series on the page. A second one with the same labels is left out:
// Prometheus would refuse the whole page for it.
func (p *page) add(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	values := make([]string, len(labels))
	for i, l := range labels {
		values[i] = label(l)
	}
	key := series{desc, strings.Join(values, "\x00")}
	if _, there := p.seen[key]; there {
		return
	}
	p.seen[key] = struct{}{}
	p.metrics = append(p.metrics, prometheus.MustNewConstMetric(desc, kind, value, values...))
}

// maxLabel is the length of the longest label value, in bytes.
const maxLabel = 64

// label makes a label value of text that may come from anywhere. Empty text
// becomes "unknown": to Prometheus an empty label is no label.
func label(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(text, "_"))
	if text == "" {
		return "unknown"
	}
	if len(text) > maxLabel {
		text = strings.ToValidUTF8(text[:maxLabel], "")
	}
	return text
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// unix gives Unix time in seconds; 0 for the zero time.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
