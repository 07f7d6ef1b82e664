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
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
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

// host is a machine with one sensor, whose files the test changes.
func host(f *sysfstest.FS, now *time.Time) source.Host {
	const chip = "/sys/devices/platform/x/hwmon/hwmon0"
	f.Links = map[string]string{"/sys/class/hwmon/hwmon0": "../../devices/platform/x/hwmon/hwmon0"}
	for name, text := range map[string]string{"/proc/uptime": "5000.10 9000.00\n", "/proc/stat": "cpu 100 0 100 800 0 0 0 0 0 0\ncpu0 1\n", chip + "/name": "x\n", chip + "/temp1_label": "T\n",
		chip + "/temp1_input": "40500\n", "/sys/devices/system/cpu/online": "0\n", "/sys/class/powercap/intel-rapl:0/energy_uj": "1000000\n", "/sys/class/powercap/intel-rapl:0/name": "package-0\n",
		"/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "5\n"} {
		f.Files[name] = text
	}
	return source.Host{Root: sysfs.New(f), Now: func() time.Time { return *now }, Log: slog.New(slog.DiscardHandler)}
}

func TestSampler(t *testing.T) {
	const input = "/sys/devices/platform/x/hwmon/hwmon0/temp1_input"
	now := day
	f := &sysfstest.FS{Files: map[string]string{}}
	s := &Sampler{Host: host(f, &now)}
	first, err := s.Read(t.Context())
	if err != nil || first.Load != -1 || len(first.Points) != 1 || first.Points[0].Value != 40.5 || len(first.Errs) > 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	now = now.Add(time.Minute)
	f.Files["/proc/stat"] = "cpu 150 0 200 1000 50 0 0 100 0 0\n"
	f.Files["/sys/class/powercap/intel-rapl:0/energy_uj"] = "3001000000\n"
	f.Files["/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"] = "8\n"
	second, err := s.Read(t.Context())
	if err != nil || second.Load != 300 || second.Slowed != 3 || second.Since != time.Minute {
		t.Errorf("%+v, %v", second, err)
	}
	if len(second.Points) != 2 || second.Points[1].ID != "power/package-0" || second.Points[1].Value != 50 {
		t.Errorf("power: %+v", second.Points)
	}
	f.Files[input] = "41500\n"
	if third, err := s.Read(t.Context()); err != nil || len(third.Points) != 1 {
		t.Fatalf("%+v, %v", third, err) // no time passed: no power
	}
	now = now.Add(31 * time.Minute)
	if stuck, err := s.Read(t.Context()); err != nil || len(stuck.Errs) != 1 || !strings.Contains(stuck.Errs[0].Error(), "has stood at 41.5") {
		t.Errorf("stuck: %+v, %v", stuck, err)
	}
	f.Files["/proc/uptime"] = "rubbish\n"
	if _, err := s.Read(t.Context()); err == nil {
		t.Error("no uptime and no error")
	}
}

// jumpy answers one reading of a file out of the line.
type jumpy struct {
	sysfs.FS
	name string
	once string
}

func (j *jumpy) ReadFile(name string, max int) ([]byte, error) {
	if name == j.name && j.once != "" {
		b := []byte(j.once)
		j.once = ""
		return b, nil
	}
	return j.FS.ReadFile(name, max)
}

func TestJump(t *testing.T) {
	now := day
	f := &sysfstest.FS{Files: map[string]string{}}
	h := host(f, &now)
	j := &jumpy{FS: f, name: "/sys/devices/platform/x/hwmon/hwmon0/temp1_input"}
	h.Root = sysfs.New(j)
	s := &Sampler{Host: h}
	for _, c := range []struct {
		once, stays string
		points      int
	}{{"", "40500\n", 1}, {"99000\n", "40500\n", 0}, {"", "41500\n", 1}, {"", "88000\n", 1}} {
		j.once, f.Files[j.name] = c.once, c.stays
		sample, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range sample.Points {
			if p.Type == Temperature {
				n++
			}
		}
		if n != c.points {
			t.Errorf("%q then %q: %d temperatures, %v", c.once, c.stays, n, sample.Errs)
		}
	}
}

// The kernel's own events come through a real socket.
func TestHintsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hints, err := Hints(ctx)
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
		t.Errorf("open: %v", err)
	}
	cancel()
	for range hints { // it is closed
	}
}

func TestHintParsers(t *testing.T) {
	for in, want := range map[string]string{
		"change@/devices/virtual/thermal/thermal_zone0\x00ACTION=change\x00SUBSYSTEM=thermal\x00": "thermal change /devices/virtual/thermal/thermal_zone0",
		"add@/devices/x\x00SUBSYSTEM=queues\x00":                                                  "",
		"libudev\x00\xfe\xed\xca\xfe":                                                             "",
	} {
		if got, _ := parseUevent([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"4,812,5000,-;CPU1: Package temperature is above threshold, cpu clock is throttled (total events = 3)\n SUBSYSTEM=cpu\n": "CPU1: Package temperature is above threshold, cpu clock is throttled (total events = 3)",
		"6,1,2,-;usb 1-1: new device\n": "",
		"thermal":                       "",
	} {
		if got, _ := parseRecord([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
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

func FuzzStat(f *testing.F) {
	f.Add("cpu  100 0 100 800 0 0 0 0 0 0\n")
	f.Add("cpu 18446744073709551615 1 1 1")
	f.Fuzz(func(t *testing.T, s string) {
		if busy, all, err := parseStat(s); err == nil && busy > all {
			t.Fatalf("%d of %d", busy, all)
		}
	})
}

func FuzzHint(f *testing.F) {
	f.Add([]byte("change@/x\x00SUBSYSTEM=thermal\x00"))
	f.Add([]byte("4,1,1,-;overheat \x1b[2J"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (string, bool){parseUevent, parseRecord} {
			if text, _ := parse(b); len(text) > 300 || strings.ContainsAny(text, "\x00\x1b\n") {
				t.Fatalf("%q", text)
			}
		}
	})
}
