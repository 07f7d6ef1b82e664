// Package metrics makes Prometheus metric families of what was found: of the report of
// a check, the snapshot that it judged and the one that it was held to.
//
// Nothing here knows a probe or a reader: what a kind's attributes become follows from
// their declarations. An attribute with a number is a gauge in its base unit, or a counter
// (lastgood_KIND_ATTR_UNIT_total) where it is declared cumulative,
//
//	lastgood_KIND_ATTR_UNIT{id}                  its value
//	lastgood_KIND_baseline_ATTR_UNIT{id}         the same at the last good boot
//	lastgood_KIND_ATTR_UNIT_headroom_ratio{id}   what is left of its limit, as a share of it
//
// one with an order is a level, texts stand together on lastgood_KIND_info, and states
// that a rule speaks of are counted. Each family holds so many series at most.
package metrics

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// DefaultCap is how many series a family holds at most: twice the programs and devices
// of a large host.
const DefaultCap = 2000

// Input is what metrics are made of. What is nil is not known, and has no series.
type Input struct {
	Report   *report.Report
	Snapshot *snapshot.Snapshot // sorted
	Base     *snapshot.Snapshot // sorted; the last good one
	Kinds    snapshot.Kinds
	Boots    []Boot
	Gate     *Gate
	// Waiting is how many notifications are still to be sent, below 0 where that is not known.
	Waiting int
	// Cap bounds the series of a family; 0 is DefaultCap.
	Cap int
}

// Boot is one boot of the history.
type Boot struct {
	Verdict snapshot.Verdict // "" where it was not judged
}

// Gate is what the gate remembers.
type Gate struct {
	Held    bool
	Since   time.Time // of the hold; zero where it is not known
	Step    string
	Strikes int
	// From and To are the releases of the newest rollback, "" where there was none.
	From, To string
}

// Families makes the metric families of in, sorted by name. They hold no time that
// passes: equal inputs give equal families.
func Families(in Input) []*dto.MetricFamily {
	b := newBuilder(in.Cap)
	b.report(in.Report)
	b.identities(in)
	b.history(in)
	if in.Snapshot != nil {
		b.subjects(in.Snapshot)
		for _, group := range byKind(in.Snapshot) {
			if k := in.Kinds[group[0].Kind]; k != nil {
				b.kind(k, group, baseOf(in))
			}
		}
	}
	if in.Snapshot != nil && in.Base != nil {
		b.drift(in)
	}
	return b.done()
}

// baseOf is the last good snapshot with the IDs that the present one knows its subjects by.
func baseOf(in Input) *snapshot.Snapshot {
	if in.Base == nil {
		return nil
	}
	return compare.Align(in.Base, in.Snapshot, in.Kinds)
}

// byKind cuts sorted subjects into runs of one kind.
func byKind(s *snapshot.Snapshot) [][]snapshot.Subject {
	var out [][]snapshot.Subject
	for rest := s.Subjects; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(o snapshot.Subject) bool { return o.Kind != rest[0].Kind })
		if n < 0 {
			n = len(rest)
		}
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}

// label is a name and a value; the value is made fit for a series.
type label struct{ name, value string }

// builder gathers families by name.
type builder struct {
	families map[string]*dto.MetricFamily
	seen     map[string]bool // of every series
	dropped  map[string]int
	most     int
}

func newBuilder(most int) *builder {
	return &builder{families: map[string]*dto.MetricFamily{}, seen: map[string]bool{}, dropped: map[string]int{}, most: cmp.Or(most, DefaultCap)}
}

const capName, droppedName = "lastgood_metrics_series_limit", "lastgood_metrics_series_dropped"

const droppedHelp = "Series that a metric does not have: beyond that limit, or not to be told from another one."

// add adds a series of a gauge.
func (b *builder) add(name, help string, value float64, labels ...label) {
	b.series(name, help, &dto.Metric{Gauge: &dto.Gauge{Value: &value}}, labels)
}

// count adds a series of a counter.
func (b *builder) count(name, help string, value float64, labels ...label) {
	b.series(name, help, &dto.Metric{Counter: &dto.Counter{Value: &value}}, labels)
}

// series adds a series, unless the family is full or has it already: Prometheus refuses a
// whole scrape for one series that stands twice, and two long names may be one once they
// are cut.
func (b *builder) series(name, help string, m *dto.Metric, labels []label) {
	f := b.families[name]
	if f == nil {
		f = &dto.MetricFamily{Name: &name, Help: &help, Type: typeOf(m)}
		b.families[name] = f
	}
	if len(f.Metric) >= b.most {
		b.dropped[name]++
		return
	}
	key := name
	for _, l := range labels {
		if l.value = clean(l.value); l.value != "" {
			m.Label = append(m.Label, &dto.LabelPair{Name: &l.name, Value: &l.value})
			key += "\x00" + l.name + "\x00" + l.value
		}
	}
	if b.seen[key] {
		b.dropped[name]++
		return
	}
	b.seen[key] = true
	f.Metric = append(f.Metric, m)
}

func typeOf(m *dto.Metric) *dto.MetricType {
	if m.Counter != nil {
		return dto.MetricType_COUNTER.Enum()
	}
	return dto.MetricType_GAUGE.Enum()
}

// done closes the set with what was left out of it, and sorts it.
func (b *builder) done() []*dto.MetricFamily {
	dropped := b.dropped
	b.dropped = map[string]int{}
	b.add(capName, "The most series that a metric of a result may have.", float64(b.most))
	total := 0
	for name, n := range dropped {
		total += n
		b.add(droppedName, droppedHelp, float64(n), label{"metric", name})
	}
	if total == 0 {
		b.add(droppedName, droppedHelp, 0)
	}
	out := make([]*dto.MetricFamily, 0, len(b.families))
	for _, f := range b.families {
		out = append(out, f)
	}
	slices.SortFunc(out, func(x, y *dto.MetricFamily) int { return cmp.Compare(x.GetName(), y.GetName()) })
	for _, f := range out {
		if f.GetName() == droppedName {
			slices.SortFunc(f.Metric, func(x, y *dto.Metric) int { return cmp.Compare(firstLabel(x), firstLabel(y)) })
		}
	}
	return out
}

func firstLabel(m *dto.Metric) string {
	if len(m.Label) == 0 {
		return ""
	}
	return m.Label[0].GetValue()
}

// maxLabel bounds a label's value, in bytes: what a device calls itself may be anything.
const maxLabel = 128

// clean makes a text fit for a label: valid UTF-8, one line, bounded.
func clean(s string) string { return bounded(s, maxLabel) }

func bounded(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s))
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// WriteText writes families in Prometheus' text format.
func WriteText(w io.Writer, families []*dto.MetricFamily) error {
	enc := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write metric %s: %w", f.GetName(), err)
		}
	}
	return nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
