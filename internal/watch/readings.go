package watch

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// Reading is one moment of the log: values by series ID, in the series' units.
type Reading struct {
	Time   time.Time
	Values map[string]float64
}

// Readings are the samples that stand in the log still, oldest first: the newest hours of
// a boot. What was folded has lost its time. doc names the series; lines of another order
// of series are passed over, as by Decode.
func Readings(doc []byte, lines [][]byte) ([]Reading, error) {
	b, err := Decode(doc, nil)
	if err != nil {
		return nil, err
	}
	table := b.h.table()
	var out []Reading
	var last uint64
	for _, text := range lines {
		var l line
		if json.Unmarshal(text, &l) != nil || l.Number <= last || l.Table != table || len(l.Values) > len(b.h.Series) {
			continue // counted by Decode, which is asked for these histories too
		}
		last = l.Number
		r := Reading{Time: time.Unix(l.Unix, 0).UTC(), Values: map[string]float64{}}
		for i, v := range l.Values {
			if v != nil {
				r.Values[b.h.Series[i].ID] = float64(*v) / 10
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// Range is where nine of ten samples of a series lie and their median, over all ranges of
// load, in the series' unit; false where there is no sample.
func (s *Series) Range() (low, median, high float64, ok bool) {
	all := Histogram{}
	for _, h := range s.Bins {
		for at, n := range h {
			all[at] += n
		}
	}
	total := all.count()
	if total == 0 {
		return 0, 0, 0, false
	}
	at := func(share float64) float64 {
		need, n := uint64(math.Ceil(share*float64(total))), uint64(0)
		for _, step := range slices.Sorted(maps.Keys(all)) {
			if n += all[step]; n >= max(need, 1) {
				return float64(step) * steps[s.Type]
			}
		}
		return 0
	}
	return at(0.05), at(0.5), at(0.95), true
}
