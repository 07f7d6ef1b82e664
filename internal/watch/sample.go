package watch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// Point is one value of a sample.
type Point struct {
	ID, Label, Type string
	Place           string // the device that it sits on: two of one device may err together
	Value           float64
}

// Sample is what was read at one moment.
type Sample struct {
	Time   time.Time
	Uptime time.Duration
	// Load is the share of all CPUs' time that was spent at work since the sample
	// before, in per mille; -1 where it is not known.
	Load   int
	Since  time.Duration // the time since the sample before, 0 where there is none
	Slowed int64         // how often heat slowed the CPUs down in it
	Points []Point
	Busy   uint64 // the CPUs' counters
	All    uint64
	// Errs are what could not be read; the rest stands.
	Errs []error
}

// Sampler reads samples of one host.
type Sampler struct {
	Host source.Host

	before Sample
	slowed hw.Throttle
	energy map[string]joules
	seen   map[string]*seen
}

type joules struct {
	at    time.Time
	total float64
}

// seen is what a sensor has read: one that stands still to the thousandth while others
// move is stuck.
type seen struct {
	value float64
	since time.Time
	moved bool // it did move once since this process began
}

const (
	// jump is what no sensor moves by in a few seconds: such a reading is read again.
	jump = 25.0
	// stuckAfter is how long a sensor that did move may stand still.
	stuckAfter = 30 * time.Minute
)

// Read takes a sample. It fails where the time of the boot or every sensor is unknown;
// what else is wrong is in the sample's Errs.
func (s *Sampler) Read(ctx context.Context) (Sample, error) {
	now := s.Host.Now()
	out := Sample{Time: now, Load: -1}
	var err error
	if out.Uptime, err = readUptime(ctx, s.Host.Root); err != nil {
		return out, err
	}
	points, err := s.readSensors(ctx)
	if len(points) == 0 && err != nil {
		return out, err
	}
	if err != nil {
		out.Errs = append(out.Errs, err)
	}
	out.Points = append(s.sound(ctx, points, &out), s.power(ctx, now, &out)...)
	if out.Busy, out.All, err = readStat(ctx, s.Host.Root); err != nil {
		out.Errs = append(out.Errs, err)
	} else if s.before.All > 0 && out.All > s.before.All && out.Busy >= s.before.Busy {
		out.Load = int(math.Round(1000 * float64(out.Busy-s.before.Busy) / float64(out.All-s.before.All)))
	}
	if !s.before.Time.IsZero() && now.After(s.before.Time) {
		out.Since = now.Sub(s.before.Time)
	}
	s.throttle(ctx, &out)
	s.before = out
	return out, nil
}

// Resume takes up after the last sample of the book, where that is of a while ago at
// most: a timer takes one sample a process.
func (s *Sampler) Resume(b *Book, most time.Duration) bool {
	at := time.Unix(b.last.Unix, 0)
	age := s.Host.Now().Sub(at)
	if b.last.All == 0 || age < time.Second || age > most {
		return false
	}
	s.before = Sample{Time: at, Busy: b.last.Busy, All: b.last.All}
	return true
}

func (s *Sampler) throttle(ctx context.Context, out *Sample) {
	t, err := hw.Throttling(ctx, s.Host, nil)
	if err != nil && !sysfs.Absent(err) {
		out.Errs = append(out.Errs, err)
	}
	if t.Known && s.slowed.Known && t.Core >= s.slowed.Core && t.Package >= s.slowed.Package {
		out.Slowed = max(t.Core-s.slowed.Core, t.Package-s.slowed.Package)
	}
	if !t.Known || !s.slowed.Known {
		out.Since = 0 // without the counters this time says nothing of throttling
	}
	s.slowed = t
}

// sound leaves out what cannot be trusted: a reading that jumped and that a second one
// does not confirm, and one that is stuck.
func (s *Sampler) sound(ctx context.Context, points []Point, sample *Sample) []Point {
	var again map[string]float64
	var out []Point
	doubt := func(format string, args ...any) { sample.Errs = append(sample.Errs, fmt.Errorf(format, args...)) }
	for _, p := range points {
		if old := s.seen[p.ID]; p.Type == Temperature && old != nil && math.Abs(p.Value-old.value) > jump {
			if again == nil {
				again = s.secondReading(ctx)
			}
			if v, ok := again[p.ID]; !ok || math.Abs(v-p.Value) > jump {
				doubt("read %s: it jumped from %g to %g °C and did not stay there", p.Label, old.value, p.Value)
				continue
			}
		}
		if s.stuck(p, sample.Time) {
			doubt("read %s: it has stood at %g °C to the thousandth for %v", p.Label, p.Value, stuckAfter)
			continue
		}
		out = append(out, p)
	}
	return out
}

// secondReading reads all sensors again; what it cannot read is not confirmed.
func (s *Sampler) secondReading(ctx context.Context) map[string]float64 {
	out := map[string]float64{}
	points, _ := s.readSensors(ctx)
	for _, p := range points {
		out[p.ID] = p.Value
	}
	return out
}

// stuck notes a reading and reports whether the sensor, which did move before, has stood
// still for long. One that never moved may be a board's that is as warm as ever, and
// whole degrees may stand for hours.
func (s *Sampler) stuck(p Point, now time.Time) bool {
	if s.seen == nil {
		s.seen = map[string]*seen{}
	}
	old := s.seen[p.ID]
	if old == nil {
		s.seen[p.ID] = &seen{value: p.Value, since: now}
		return false
	}
	if old.value != p.Value {
		s.seen[p.ID] = &seen{value: p.Value, since: now, moved: old.moved || p.Value != math.Trunc(p.Value)}
		return false
	}
	fine := p.Value != math.Trunc(p.Value)
	return p.Type == Temperature && old.moved && fine && now.Sub(old.since) >= stuckAfter
}

func (s *Sampler) readSensors(ctx context.Context) ([]Point, error) {
	subjects, err := hw.Sensors(ctx, s.Host)
	var out []Point
	for i := range subjects {
		sub := &subjects[i]
		p := Point{ID: sub.ID, Label: sub.Name(), Type: Temperature, Place: placeOf(sub)}
		v, ok := sub.Attrs["value_celsius"].Number()
		if sub.Text("type") == "fan" {
			p.Type = Fan
			v, ok = sub.Attrs["rpm"].Number()
		}
		if ok {
			p.Value = v
			out = append(out, p)
		}
	}
	return out, err
}

// placeOf is where a sensor sits; a zone has no device but its own type.
func placeOf(s *snapshot.Subject) string {
	if at := s.Text("location"); at != "" {
		return at
	}
	return s.ID
}

var raplPackage = regexp.MustCompile(`^(intel|amd)-rapl:[0-9]+$`)

// power reads the packages' energy counters, which take root since CVE-2020-8694, and
// gives the mean power since the sample before. A counter that wrapped gives none.
func (s *Sampler) power(ctx context.Context, now time.Time, out *Sample) []Point {
	const folder = "/sys/class/powercap"
	names, err := s.Host.Root.List(ctx, folder)
	if err != nil {
		if !sysfs.Absent(err) {
			out.Errs = append(out.Errs, err)
		}
		return nil
	}
	if s.energy == nil {
		s.energy = map[string]joules{}
	}
	var points []Point
	for _, name := range names {
		if !raplPackage.MatchString(name) {
			continue
		}
		micro, err := s.Host.Root.Int(ctx, folder, name, "energy_uj")
		if err != nil {
			out.Errs = append(out.Errs, err)
			continue
		}
		label, err := s.Host.Root.Attr(ctx, folder, name, "name")
		if err != nil || label == "" {
			label = name
		}
		is := joules{now, float64(micro) / 1e6}
		was, known := s.energy[name]
		s.energy[name] = is
		if took := now.Sub(was.at).Seconds(); known && took >= 1 && is.total >= was.total {
			points = append(points, Point{ID: path.Join("power", label), Label: "power of " + label, Type: Power, Place: label, Value: (is.total - was.total) / took})
		}
	}
	return points
}

func readUptime(ctx context.Context, root *sysfs.Root) (time.Duration, error) {
	text, err := root.Attr(ctx, "/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil || seconds < 0 || seconds > 1e9 || math.IsNaN(seconds) {
		return 0, fmt.Errorf("read /proc/uptime: %.40q is no time", text)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// maxStat bounds /proc/stat, of which the first line is wanted.
const maxStat = 4096

func readStat(ctx context.Context, root *sysfs.Root) (busy, all uint64, err error) {
	b, err := root.Bytes(ctx, maxStat, "/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(b))
}

// parseStat reads the line of all CPUs: user nice system idle iowait irq softirq steal
// (fs/proc/stat.c); guest time is in user and nice already. Waiting for a disk and time
// taken by another virtual machine warm nothing here.
func parseStat(text string) (busy, all uint64, err error) {
	first, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	if len(fields) < 5 || fields[0] != "cpu" {
		return 0, 0, errors.New("read /proc/stat: its first line is not that of all CPUs")
	}
	for i, f := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(f, 10, 62)
		if err != nil || all+n < all {
			return 0, 0, fmt.Errorf("read /proc/stat: %.40q is no counter", f)
		}
		all += n
		if idle := i == 3 || i == 4 || i == 7; !idle {
			busy += n
		}
	}
	return busy, all, nil
}
