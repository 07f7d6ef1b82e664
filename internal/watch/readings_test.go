package watch

import (
	"encoding/json"
	"testing"
	"time"
)

// TestReadings takes from a log what can be told apart, each sample once.
func TestReadings(t *testing.T) {
	b, err := Decode(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_700_000_000, 0).UTC()
	var lines [][]byte
	for i := range 3 {
		line, _, err := b.Add(Sample{Time: start.Add(time.Duration(i) * time.Minute), Uptime: time.Hour, Load: 100, Points: []Point{{ID: "cpu", Type: Temperature, Value: 40.5 + float64(i)}}})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	doc, err := json.Marshal(b.History())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Readings(doc, append(lines, lines[1], []byte("cut sho"), []byte(`{"n": 9, "s": 1, "v": [1]}`)))
	if err != nil || len(got) != 3 {
		t.Fatalf("%d readings, %v", len(got), err)
	}
	if last := got[2]; last.Values["cpu"] != 42.5 || !last.Time.Equal(start.Add(2*time.Minute)) {
		t.Errorf("the last one is %+v", last)
	}
	if _, err := Readings([]byte("{"), nil); err == nil {
		t.Error("a damaged document is taken")
	}
}

func TestRange(t *testing.T) {
	s := Series{Type: Fan, Bins: [ranges]Histogram{{10: 1, 11: 40}, {12: 40, 30: 1}}}
	low, median, high, ok := s.Range()
	if !ok || low != 1100 || median != 1100 || high != 1200 {
		t.Errorf("from %v to %v, median %v, %v", low, high, median, ok)
	}
	if _, _, _, ok := (&Series{Type: Fan}).Range(); ok {
		t.Error("a range of nothing")
	}
}
