package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keeper notes what it is given, and fails as often as it is told.
type keeper struct {
	fail  int
	lines [][]byte
	doc   []byte
	notes []string
}

func (k *keeper) do(f func()) error {
	if k.fail > 0 {
		k.fail--
		return errors.New("held by another process")
	}
	f()
	return nil
}

func (k *keeper) Append(_ context.Context, line []byte) error {
	return k.do(func() { k.lines = append(k.lines, line) })
}

func (k *keeper) Fold(_ context.Context, h *History) error {
	return k.do(func() {
		k.doc, _ = json.Marshal(h)
		k.lines = nil
	})
}

func (k *keeper) Note(_ context.Context, text string) error {
	return k.do(func() { k.notes = append(k.notes, text) })
}

// A watch samples at once, at ticks and after hints, keeps what waited for the folder,
// and ends in order.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tick, hints := make(chan time.Time), make(chan Hint)
	reads := 0
	taken := make(chan int)
	k := &keeper{fail: 2}
	o := Options{Book: &Book{}, Keep: k, Tick: tick, Hints: hints, Now: func() time.Time { return day }, Log: slog.New(slog.DiscardHandler)}
	o.Book.Begin("b", "6.1")
	o.Read = func(context.Context) (Sample, error) {
		reads++
		if reads == 2 {
			return Sample{}, errors.New("no uptime")
		}
		defer func() { taken <- reads }()
		return Sample{Time: day, Uptime: time.Hour, Load: 300, Points: []Point{{ID: "a", Label: "a", Type: Temperature, Value: 40}}}, nil
	}
	done := make(chan error)
	go func() { done <- Run(ctx, o) }()
	<-taken
	tick <- day // fails
	for range 3 {
		tick <- day
		<-taken
	}
	hints <- Hint{"uevent", "thermal change x"}
	hints <- Hint{"uevent", "thermal change y"} // within the quiet time
	<-taken                                     // the early sample
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b, err := Decode(k.doc, k.lines)
	if err != nil || b.History().Samples != 5 || b.Lost != 0 {
		t.Errorf("%v: %d samples, %d lost", err, b.History().Samples, b.Lost)
	}
	if d := cmp.Diff([]string{"uevent: thermal change x"}, k.notes); d != "" {
		t.Errorf("notes (-want +got):\n%s", d)
	}
}

func hot(celsius ...float64) Sample {
	var s Sample
	for i, c := range celsius {
		s.Points = append(s.Points, Point{ID: fmt.Sprint(i), Label: fmt.Sprint("sensor ", i), Type: Temperature, Place: fmt.Sprint("chip ", i/2), Value: c})
	}
	return s
}

func TestGuard(t *testing.T) {
	dir := t.TempDir()
	program, calls := filepath.Join(dir, "shutdown"), filepath.Join(dir, "calls")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" >>"+calls+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name    string
		samples []Sample
		want    int
	}{
		{"three in a row of two devices", []Sample{hot(99, 20, 98), hot(99, 20, 98), hot(99, 20, 98), hot(99, 20, 98)}, 1},
		{"two in a row", []Sample{hot(99, 20, 98), hot(99, 20, 98), hot(20, 20, 98), hot(99, 20, 98)}, 0},
		{"two sensors of one device", []Sample{hot(99, 99), hot(99, 99), hot(99, 99)}, 0},
		{"one sensor", []Sample{hot(99), hot(99), hot(99)}, 0},
		{"at the limit", []Sample{hot(95, 20, 95), hot(95, 20, 95), hot(95, 20, 95)}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(calls)
			g := &Guard{Above: 95, Paths: []string{filepath.Join(dir, "none"), program}}
			for _, s := range c.samples {
				if _, err := g.Feed(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(calls)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if got := strings.Count(string(b), "-P now lastgood: 3 samples in a row above 95 °C"); got != c.want {
				t.Errorf("%d calls, want %d: %s", got, c.want, b)
			}
		})
	}
	g := &Guard{Above: 95, Paths: []string{"shutdown", filepath.Join(dir, "none")}}
	for range 2 {
		if why, err := g.Feed(t.Context(), hot(99, 0, 99)); why != "" || err != nil {
			t.Fatal(why, err)
		}
	}
	if why, err := g.Feed(t.Context(), hot(99, 0, 99)); why == "" || err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Errorf("%q, %v", why, err)
	}
	for _, above := range []float64{0, 40, 200, -1} {
		if _, err := NewGuard(above); err == nil {
			t.Errorf("a guard at %g °C", above)
		}
	}
}
