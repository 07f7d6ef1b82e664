package report

import (
	"fmt"
	"io"
)

// Heat is one boot's history of temperatures, fans and power beside an older one's:
// `watch --print -o json`.
type Heat struct {
	// NotComparable says why nothing can be said yet, or "".
	NotComparable string `json:"not_comparable,omitempty"`
	// Inlet is the sensor of the air that comes in, "" where none is known.
	Inlet  string       `json:"inlet,omitempty"`
	Series []HeatSeries `json:"series"`
}

// HeatSeries is one thing that was sampled.
type HeatSeries struct {
	ID     string      `json:"id"`
	Label  string      `json:"label"`
	Type   string      `json:"type"`
	Unit   string      `json:"unit"`
	Ranges []HeatRange `json:"ranges"`
}

// HeatRange is one range of load; Difference is absent where there are too few samples.
type HeatRange struct {
	Load       string   `json:"load"`
	Old        float64  `json:"old_median"`
	OldSamples uint64   `json:"old_samples"`
	New        float64  `json:"new_median"`
	NewSamples uint64   `json:"new_samples"`
	Difference *float64 `json:"difference,omitempty"`
}

// WriteHeat writes it as a table; release is the older kernel's.
func WriteHeat(w io.Writer, h Heat, release string, o Options) error {
	p := newPage(w, o)
	if h.NotComparable != "" {
		p.line("", plain, flat(h.NotComparable))
	}
	t := &columns{left: 2, head: []string{"sensor", "load", "under " + flat(release), "now", "difference"}}
	t.beneath = []string{t.head[2], "load", "now"}
	for _, s := range h.Series {
		for _, r := range s.Ranges {
			difference := "not comparable yet"
			if r.Difference != nil {
				difference = fmt.Sprintf("%+g %s", *r.Difference, s.Unit)
			}
			t.add(orDash(s.Label), flat(r.Load), heatSide(r.Old, r.OldSamples, s.Unit), heatSide(r.New, r.NewSamples, s.Unit), difference)
		}
	}
	switch {
	case h.NotComparable != "":
		p.table(t)
	case len(t.rows) > 0:
		t.write(p)
	}
	return p.err
}

func heatSide(median float64, n uint64, unit string) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%g %s (n=%d)", median, unit, n)
}
