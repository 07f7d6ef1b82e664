package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"
)

// Schema names the document of a history.
const Schema = "lastgood.thermal/v1"

const (
	// WarmUp is how long after boot samples are left out: heat sinks and disks
	// take minutes to settle.
	WarmUp = 10 * time.Minute
	// maxSeries bounds a history's width.
	maxSeries = 128
)

// Edges are the borders of the ranges of load, in per cent of all CPUs' time. The first
// are narrow, for that is where most servers spend their days.
var Edges = [...]int{0, 5, 20, 40, 60, 80, 100}

const ranges = len(Edges) - 1

// Types of series, with the width of a histogram's step.
const (
	Temperature = "temperature" // °C
	Fan         = "fan"         // rpm
	Power       = "power"       // W
)

var steps = map[string]float64{Temperature: 1, Fan: 100, Power: 1}

// Histogram counts samples by step: a value v is at round(v / step).
type Histogram map[int]uint64

// Series is what was sampled of one thing, by range of load.
type Series struct {
	ID    string            `json:"id"`
	Label string            `json:"label"`
	Type  string            `json:"type"`
	Bins  [ranges]Histogram `json:"bins"`
}

// History is what was sampled on one boot, or on several of one kernel.
type History struct {
	Schema  string    `json:"schema"`
	BootID  string    `json:"boot_id"`
	Release string    `json:"release"`
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	Folded  uint64    `json:"folded"`  // number of the last sample that is in here
	Samples uint64    `json:"samples"` // after the warm-up, with a known load
	Warmup  uint64    `json:"warmup"`  // left out for being of the warm-up
	Series  []Series  `json:"series"`
	// Seconds and Throttled are, by range of load, the time sampled and how often heat
	// slowed the CPUs down in it.
	Seconds   [ranges]float64 `json:"seconds"`
	Throttled [ranges]int64   `json:"throttled"`
}

// line is one sample in the log.
type line struct {
	Number  uint64   `json:"n"`
	Unix    int64    `json:"t"`
	Uptime  int64    `json:"u"`           // seconds
	Load    int      `json:"l"`           // per mille of all CPUs' time, -1 where not known
	Seconds float64  `json:"d,omitempty"` // since the sample before
	Slowed  int64    `json:"x,omitempty"` // how often heat slowed the CPUs down in these
	Table   uint32   `json:"s"`           // of the series that the values are in the order of
	Values  []*int32 `json:"v"`           // tenths of the unit; null where there was none
	Busy    uint64   `json:"b"`           // the CPUs' counters, for the load of the next sample
	All     uint64   `json:"j"`
}

// Decode reads a folded document and the lines of the log after it. doc may be nil: then
// the lines cannot be told apart and are counted as lost, but for the numbers they bear.
func Decode(doc []byte, lines [][]byte) (*Book, error) {
	b := &Book{h: History{Schema: Schema}}
	if doc != nil {
		if err := json.Unmarshal(doc, &b.h); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if err := b.h.check(); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
	}
	for _, text := range lines {
		b.take(text)
	}
	return b, nil
}

func (h *History) check() error {
	if h.Schema != Schema {
		return fmt.Errorf("schema %.40q is not %s", h.Schema, Schema)
	}
	if len(h.Series) > maxSeries {
		return errors.New("more series than a history has")
	}
	for i := range h.Series {
		s := &h.Series[i]
		if s.ID == "" || steps[s.Type] == 0 {
			return fmt.Errorf("series %d has no id, or the type %.20q", i, s.Type)
		}
		for _, hist := range s.Bins {
			for at := range hist {
				if math.Abs(float64(at)) > 1e6 {
					return fmt.Errorf("series %s: a step of %d", s.ID, at)
				}
			}
		}
	}
	return nil
}

// table is a checksum of the order of the series.
func (h *History) table() uint32 {
	sum := crc32.NewIEEE()
	for i := range h.Series {
		fmt.Fprintf(sum, "%s\x00%s\x00", h.Series[i].ID, h.Series[i].Type)
	}
	return sum.Sum32()
}

// Book is a history with the samples of the log folded into it in memory.
type Book struct {
	h    History
	Lost int // lines that could not be read, or of an order of series that is gone
	last line
	log  int // lines since the document was written
}

// History is all that the book holds. It is not to be changed.
func (b *Book) History() *History { return &b.h }

// take folds a line of the log, unless the document holds it already.
func (b *Book) take(text []byte) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Number == 0 {
		b.Lost++
		return
	}
	if l.Number <= b.h.Folded {
		return
	}
	if l.Table != b.h.table() || len(l.Values) > len(b.h.Series) {
		b.Lost++
		b.h.Folded = l.Number
		return
	}
	b.fold(l)
}

// fold adds a line to the histograms.
func (b *Book) fold(l line) {
	b.h.Folded, b.last = l.Number, l
	b.log++
	b.h.Updated = time.Unix(l.Unix, 0).UTC()
	if b.h.Started.IsZero() {
		b.h.Started = b.h.Updated
	}
	switch {
	case time.Duration(l.Uptime)*time.Second < WarmUp:
		b.h.Warmup++
		return
	case l.Load < 0 || l.Load > 1000:
		return
	}
	b.h.Samples++
	bin := rangeOf(l.Load)
	if l.Seconds > 0 && l.Slowed >= 0 {
		b.h.Seconds[bin] += l.Seconds
		b.h.Throttled[bin] += l.Slowed
	}
	for i, v := range l.Values {
		if v == nil {
			continue
		}
		s := &b.h.Series[i]
		if s.Bins[bin] == nil {
			s.Bins[bin] = Histogram{}
		}
		s.Bins[bin][int(math.Round(float64(*v)/10/steps[s.Type]))]++
	}
}

// rangeOf is the range of a load in per mille.
func rangeOf(load int) int {
	for i := ranges - 1; i > 0; i-- {
		if load >= Edges[i]*10 {
			return i
		}
	}
	return 0
}

// Add folds a sample in and gives its line for the log. grew says that there are new
// series: the document must be written before the line, or the line cannot be read.
func (b *Book) Add(s Sample) (text []byte, grew bool, err error) {
	at := map[string]int{}
	for i := range b.h.Series {
		at[b.h.Series[i].ID] = i
	}
	for _, p := range s.Points {
		if _, known := at[p.ID]; known || len(b.h.Series) >= maxSeries || steps[p.Type] == 0 {
			continue
		}
		at[p.ID] = len(b.h.Series)
		b.h.Series = append(b.h.Series, Series{ID: p.ID, Label: p.Label, Type: p.Type})
		grew = true
	}
	l := line{Number: b.h.Folded + 1, Unix: s.Time.Unix(), Uptime: int64(s.Uptime / time.Second), Load: s.Load, Seconds: math.Round(s.Since.Seconds()*10) / 10,
		Slowed: s.Slowed, Table: b.h.table(), Values: make([]*int32, len(b.h.Series)), Busy: s.Busy, All: s.All}
	for _, p := range s.Points {
		if i, ok := at[p.ID]; ok && math.Abs(p.Value) < 1e6 {
			tenths := int32(math.Round(p.Value * 10))
			l.Values[i] = &tenths
		}
	}
	if text, err = json.Marshal(l); err != nil {
		return nil, false, fmt.Errorf("encode sample: %w", err)
	}
	b.fold(l)
	return text, grew, nil
}

// Due reports whether the log has grown enough to be folded.
func (b *Book) Due() bool { return b.log >= foldAfter }

// Written says that the document was written and the log is empty.
func (b *Book) Written() { b.log = 0 }

// foldAfter is a log of about 200 KiB on a machine with fifty sensors.
const foldAfter = 500

// Begin says which boot the book is of. Where its document does not say so yet it is due:
// a log alone does not tell of which kernel it is.
func (b *Book) Begin(boot, release string) {
	if b.h.BootID != boot || b.h.Release != release {
		b.log = foldAfter
	}
	b.h.Schema, b.h.BootID, b.h.Release = Schema, boot, release
}

// Merge adds up the histories of several boots of one kernel.
func Merge(all ...*History) *History {
	out := &History{Schema: Schema}
	at := map[string]int{}
	for _, h := range all {
		out.Release = h.Release
		out.Samples += h.Samples
		out.Warmup += h.Warmup
		for i := range ranges {
			out.Seconds[i] += h.Seconds[i]
			out.Throttled[i] += h.Throttled[i]
		}
		for _, s := range h.Series {
			i, known := at[s.ID]
			if !known {
				i = len(out.Series)
				at[s.ID] = i
				out.Series = append(out.Series, Series{ID: s.ID, Label: s.Label, Type: s.Type})
			}
			if out.Series[i].Type == s.Type {
				out.Series[i].add(&s)
			}
		}
	}
	slices.SortFunc(out.Series, func(a, b Series) int { return compareText(a.ID, b.ID) })
	return out
}

func (s *Series) add(o *Series) {
	for bin, hist := range o.Bins {
		if s.Bins[bin] == nil && len(hist) > 0 {
			s.Bins[bin] = Histogram{}
		}
		for step, n := range hist {
			s.Bins[bin][step] += n
		}
	}
}
