package watch

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

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

func FuzzStat(f *testing.F) {
	f.Add("cpu  100 0 100 800 0 0 0 0 0 0\n")
	f.Add("cpu 18446744073709551615 1 1 1")
	f.Fuzz(func(t *testing.T, s string) {
		if busy, all, err := parseStat(s); err == nil && busy > all {
			t.Fatalf("%d of %d", busy, all)
		}
	})
}
