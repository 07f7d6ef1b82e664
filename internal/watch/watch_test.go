package watch

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

var day = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// run makes a book of n samples at each of the given loads, in per mille, in which each
// temperature is what temps gives.
func run(t *testing.T, release string, n int, loads []int, temps map[string]func(load int) float64) *Book {
	t.Helper()
	b := &Book{}
	b.Begin("boot-"+release, release)
	at := 0
	for _, load := range loads {
		for range n {
			at++
			s := Sample{Time: day.Add(time.Duration(at) * time.Minute), Uptime: WarmUp + time.Duration(at)*time.Minute, Load: load, Since: time.Minute}
			for id, f := range temps {
				kind := Temperature
				if strings.HasPrefix(id, "fan") {
					kind = Fan
				}
				s.Points = append(s.Points, Point{ID: id, Label: id, Type: kind, Value: f(load) + float64(at%3-1)})
			}
			if _, _, err := b.Add(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b
}

func flat(celsius float64) func(int) float64 { return func(int) float64 { return celsius } }

func plus(more float64) func(int) float64 {
	return func(load int) float64 { return 40 + float64(load)/50 + more }
}

func TestFindings(t *testing.T) {
	loads := []int{20, 300, 500}
	cases := []struct {
		name     string
		old, new *Book
		want     []string // severity, code, subject
		notYet   string
	}{
		{"as before", run(t, "6.1", 30, loads, map[string]func(int) float64{"cpu": plus(0)}), run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(2)}), nil, ""},
		{"hotter", run(t, "6.1", 30, loads, map[string]func(int) float64{"cpu": plus(0)}), run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(9)}),
			[]string{"warning thermal-hotter cpu"}, ""},
		{"much hotter", run(t, "6.1", 30, loads, map[string]func(int) float64{"cpu": plus(0)}), run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(17)}),
			[]string{"critical thermal-much-hotter cpu"}, ""},
		{"hotter for there was more to do", run(t, "6.1", 30, []int{20, 300}, map[string]func(int) float64{"cpu": plus(0)}),
			run(t, "6.12", 30, []int{700, 900}, map[string]func(int) float64{"cpu": plus(0)}), nil, "not comparable yet: 0 of 2 ranges"},
		{"hotter in one range alone", run(t, "6.1", 30, []int{300}, map[string]func(int) float64{"cpu": plus(0)}), run(t, "6.12", 30, []int{300}, map[string]func(int) float64{"cpu": plus(20)}),
			nil, "not comparable yet: 1 of 2 ranges"},
		{"too few samples", run(t, "6.1", 19, loads, map[string]func(int) float64{"cpu": plus(0)}), run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(20)}), nil, "not comparable yet"},
		{"the room is warmer", run(t, "6.1", 30, loads, map[string]func(int) float64{"cpu": plus(0), "Inlet Temp": flat(22)}),
			run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(9), "Inlet Temp": flat(30)}), nil, ""},
		{"the room is not", run(t, "6.1", 30, loads, map[string]func(int) float64{"cpu": plus(0), "Inlet Temp": flat(22)}),
			run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(9), "Inlet Temp": flat(22)}), []string{"warning thermal-hotter cpu"}, ""},
		{"another sensor", run(t, "6.1", 30, loads, map[string]func(int) float64{"cpu": plus(0)}), run(t, "6.12", 30, loads, map[string]func(int) float64{"disk": plus(20)}), nil, "no temperature was sampled on both"},
		{"nothing before", &Book{}, run(t, "6.12", 30, loads, map[string]func(int) float64{"cpu": plus(20)}), nil, "no temperature was sampled on both"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			compared := Compare(c.old.History(), c.new.History())
			var got []string
			for _, f := range compared.Findings(Kind().Rules, snapshot.ClassKernel) {
				got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject.ID))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if why := compared.NotYet(); !strings.Contains(why, c.notYet) || (c.notYet == "") != (why == "") {
				t.Errorf("not yet: %q, want %q", why, c.notYet)
			}
		})
	}
}

func TestFindingSaysWhatAndWhy(t *testing.T) {
	loads := []int{20, 300}
	old := run(t, "6.1.0-55", 30, loads, map[string]func(int) float64{"cpu": plus(0), "fan1": flat(3000)})
	new := run(t, "6.12", 40, loads, map[string]func(int) float64{"cpu": plus(9), "fan1": flat(2000)})
	found := Compare(old.History(), new.History()).Findings(Kind().Rules, snapshot.ClassHardware)
	if len(found) != 1 {
		t.Fatalf("%d findings", len(found))
	}
	f := found[0]
	if want := "at 0-5 % load cpu runs 9 °C hotter than under 6.1.0-55 (n=40, m=30), and so in 2 of 2 comparable ranges of load"; f.Message != want {
		t.Errorf("message %q, want %q", f.Message, want)
	}
	if !strings.Contains(f.Evidence, "fan1 at 0-5 % load: 2000, was 3000 rpm") || f.Class != snapshot.ClassHardware || !strings.Contains(f.Hint, "room") {
		t.Errorf("%+v", f)
	}
}

func TestThrottledMore(t *testing.T) {
	old, new := &History{Release: "6.1"}, &History{Release: "6.12"}
	old.Seconds[2], new.Seconds[2] = 7200, 7200
	old.Throttled[2], new.Throttled[2] = 2, 60
	old.Seconds[5], new.Seconds[5] = 60, 7200 // too short to tell
	new.Throttled[5] = 10000
	found := Compare(old, new).Findings(Kind().Rules, snapshot.ClassKernel)
	if len(found) != 1 || found[0].Code != CodeThrottled || !strings.Contains(found[0].Message, "30 times an hour, 1 under 6.1") {
		t.Errorf("%+v", found)
	}
}

func TestWarmUpAndUnknownLoadAreLeftOut(t *testing.T) {
	b := &Book{}
	for _, s := range []Sample{{Uptime: WarmUp - time.Second, Load: 300}, {Uptime: WarmUp, Load: -1}, {Uptime: WarmUp, Load: 300}} {
		s.Time, s.Points = day, []Point{{ID: "cpu", Label: "cpu", Type: Temperature, Value: 50}}
		if _, _, err := b.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	h := b.History()
	if h.Samples != 1 || h.Warmup != 1 || h.Series[0].Bins[2].count() != 1 {
		t.Errorf("%+v", h)
	}
}

// What is folded and what is read again from the log give one history, wherever the
// document was written.
func TestFoldAndLogAgree(t *testing.T) {
	whole := &Book{}
	whole.Begin("b", "6.1")
	var doc []byte
	var lines [][]byte
	for i := range 40 {
		s := Sample{Time: day.Add(time.Duration(i) * time.Minute), Uptime: time.Hour, Load: i * 25, Points: []Point{{ID: "a", Label: "a", Type: Temperature, Value: float64(30 + i%5)}}}
		if i > 20 {
			s.Points = append(s.Points, Point{ID: "late", Label: "late", Type: Fan, Value: 1200})
		}
		text, grew, err := whole.Add(s)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, text)
		if grew || i == 30 {
			if doc, err = json.Marshal(whole.History()); err != nil {
				t.Fatal(err)
			}
			if i != 30 { // at 30 the power went between the document and the emptying of the log
				lines = nil
			}
		}
	}
	again, err := Decode(doc, lines)
	if err != nil || again.Lost != 0 {
		t.Fatalf("%v, %d lost", err, again.Lost)
	}
	if d := cmp.Diff(whole.History(), again.History()); d != "" {
		t.Errorf("history (-kept +read):\n%s", d)
	}
	alone, err := Decode(nil, lines)
	if err != nil || alone.Lost == 0 || alone.History().Samples != 0 {
		t.Errorf("lines without their document: %v, %d lost, %d samples", err, alone.Lost, alone.History().Samples)
	}
}

// A year of samples is no larger than a day's.
func TestBounded(t *testing.T) {
	b := &Book{}
	var sizes []int
	for i := range 4000 {
		s := Sample{Time: day, Uptime: time.Hour, Load: i % 1001}
		for n := range 2 * maxSeries {
			s.Points = append(s.Points, Point{ID: fmt.Sprint(n), Label: "x", Type: Temperature, Value: float64(30 + (i+n)%60)})
		}
		if i%100 != 0 { // the width matters once in a while
			s.Points = s.Points[:3]
		}
		if _, _, err := b.Add(s); err != nil {
			t.Fatal(err)
		}
		if i == 2000 || i == 3999 {
			doc, err := json.Marshal(b.History())
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(doc))
		}
	}
	if len(b.History().Series) != maxSeries || sizes[1] > sizes[0]*11/10 || sizes[1] > 1<<20 {
		t.Errorf("%d series, sizes %v", len(b.History().Series), sizes)
	}
}

func FuzzDecode(f *testing.F) {
	b := &Book{}
	b.Begin("b", "6.1")
	text, _, err := b.Add(Sample{Time: day, Uptime: time.Hour, Load: 300, Points: []Point{{ID: "a", Label: "a", Type: Temperature, Value: 40}}})
	if err != nil {
		f.Fatal(err)
	}
	doc, err := json.Marshal(b.History())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc, text)
	f.Add([]byte(`{"schema":"lastgood.thermal/v1","series":[{"id":"a","type":"temperature","bins":[{"5":1}]}]}`), []byte(`{"n":1,"l":1000,"v":[1]}`))
	f.Fuzz(func(t *testing.T, doc, line []byte) {
		b, err := Decode(doc, [][]byte{line})
		if err != nil {
			return
		}
		c := Compare(b.History(), b.History())
		if found := c.Findings(Kind().Rules, snapshot.ClassKernel); len(found) > 0 {
			t.Fatalf("a history is hotter than itself: %+v", found)
		}
		if _, _, err := b.Add(Sample{Time: day, Uptime: time.Hour, Load: 1000, Points: []Point{{ID: "n", Type: Fan, Value: 1}}}); err != nil {
			t.Fatal(err)
		}
	})
}
