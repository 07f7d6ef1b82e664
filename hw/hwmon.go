package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// readSensors reads every chip or zone of a class folder; each gives several
// sensors or none.
func readSensors(ctx context.Context, h source.Host, folder string, read func(*device) ([]snapshot.Subject, error)) ([]snapshot.Subject, error) {
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	var errs []error
	for _, name := range names {
		d, err := newDevice(ctx, h, path.Join(folder, name), sensorKind)
		if err != nil {
			errs = append(errs, err)
		}
		if d == nil {
			continue
		}
		sensors, err := read(d)
		if d.vanished() {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", name, err))
		}
		out = append(out, sensors...)
	}
	return out, errors.Join(errs...)
}

// unlike numbers sensors that nothing tells apart: two chips of one make on one
// device, two zones of one type.
func unlike(sensors []snapshot.Subject) []snapshot.Subject {
	seen := map[string]int{}
	for i := range sensors {
		id := sensors[i].ID
		if seen[id]++; seen[id] > 1 {
			sensors[i].ID = fmt.Sprintf("%s#%d", id, seen[id])
		}
	}
	return sensors
}

// input is the attribute that makes a sensor: Documentation/hwmon/sysfs-interface.
var input = regexp.MustCompile(`^(temp|fan)([0-9]+)_input$`)

// readChip reads the temperatures and fans of one chip. A chip that only repeats a
// thermal zone is left to the reader of those.
func (d *device) readChip() ([]snapshot.Subject, error) {
	if strings.HasPrefix(d.dir, "/sys/devices/virtual/thermal/") {
		return nil, nil
	}
	chip, err := d.root.Attr(d.ctx, d.dir, "name")
	if err != nil {
		return nil, err // without its name a chip's sensors would look like others
	}
	place, err := d.locate(d.dir)
	if err != nil {
		return nil, err
	}
	files, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		return nil, err
	}
	var out []snapshot.Subject
	for _, f := range files {
		m := input.FindStringSubmatch(f)
		if m == nil {
			continue
		}
		s := reading{snapshot.Subject{Kind: sensorKind, Outcome: snapshot.Measured, Parent: d.hangsOn(d.dir)}}
		s.Set("chip", snapshot.Text(chip))
		s.Set("location", snapshot.Text(place))
		prefix := m[1] + m[2]
		s.Set("name", snapshot.Text(d.name+"/"+prefix))
		label, err := d.root.Attr(d.ctx, d.dir, prefix+"_label")
		if err != nil && !sysfs.Absent(err) {
			return out, err
		}
		bare := label == ""
		if bare {
			label = prefix
		}
		s.ID = path.Join(place, chip, joinWords(label))
		s.Label = chip + " " + label
		if m[1] == "fan" {
			d.readFan(&s, prefix)
		} else {
			d.readTemp(&s, prefix, bare)
		}
		out = append(out, s.Subject)
	}
	return out, nil
}

// faulty reads the bit by which a chip says that a sensor is broken; many have none.
// It is asked before the value: a broken sensor mostly reads its register full.
func (d *device) faulty(s *reading, prefix string) (bool, error) {
	bit, err := d.root.Attr(d.ctx, d.dir, prefix+"_fault")
	if sysfs.Absent(err) {
		return false, nil
	}
	if err == nil && bit != "0" && bit != "1" {
		err = fmt.Errorf("read %s_fault: neither 0 nor 1", prefix)
	}
	if err != nil {
		s.Fail("fault", err)
		return false, err
	}
	s.Set("fault", yesNo(bit == "1"))
	return bit == "1", nil
}

func (d *device) readTemp(s *reading, prefix string, bare bool) {
	s.Set("type", snapshot.Text("temperature"))
	faulty, unsure := d.faulty(s, prefix)
	s.limits(d.milli(s, "limit_celsius", prefix+"_max"), d.milli(s, "crit_celsius", prefix+"_crit"), d.milli(s, "emergency_celsius", prefix+"_emergency"))
	n, err := d.root.Int(d.ctx, d.dir, prefix+"_input")
	if err == nil && unsure != nil {
		err = fmt.Errorf("whether the sensor is faulty could not be told: %w", unsure)
	}
	if err != nil {
		s.Fail("value_celsius", err)
		return
	}
	s.temperature(n, faulty, bare)
	if s.Text("reading") == readingGood {
		d.alarms(s, prefix, "", "max", "crit", "emergency")
	}
}

// milli reads a limit, 0 where it is not set.
func (d *device) milli(s *reading, name, file string) int64 {
	n, err := d.root.Int(d.ctx, d.dir, file)
	if err != nil && !sysfs.Absent(err) {
		s.Fail(name, err)
	}
	return n
}

// alarms gathers the limits that the chip says are crossed: PREFIX_alarm, or
// PREFIX_LIMIT_alarm.
func (d *device) alarms(s *reading, prefix string, limits ...string) {
	var raised []string
	known := false
	for _, l := range limits {
		file := strings.TrimSuffix(prefix+"_"+l, "_") + "_alarm"
		bit, err := d.root.Attr(d.ctx, d.dir, file)
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			s.Fail("alarms", err)
			return
		}
		known = true
		if bit == "1" {
			raised = append(raised, strings.TrimPrefix(file, prefix+"_"))
		}
	}
	if known {
		s.Set("alarms", snapshot.List(raised...))
	}
}

// fastest is beyond what a fan can turn at.
const fastest = 100_000

// readFan reads a fan. One that its chip calls failed does not turn, whatever its
// counter says.
func (d *device) readFan(s *reading, prefix string) {
	s.Set("type", snapshot.Text("fan"))
	faulty, unsure := d.faulty(s, prefix)
	if n, err := d.root.Int(d.ctx, d.dir, prefix+"_min"); err == nil && n > 0 && n < fastest {
		s.Set("min_rpm", snapshot.Int(n))
	}
	if faulty {
		s.Set("reading", snapshot.Text(readingFaulty))
		s.Set("turning", snapshot.Text("no"))
		s.Fail("rpm", errors.New("the chip says that the fan failed"))
		return
	}
	n, err := d.root.Int(d.ctx, d.dir, prefix+"_input")
	if err == nil && unsure != nil {
		err = fmt.Errorf("whether the fan failed could not be told: %w", unsure)
	}
	if err == nil && (n < 0 || n > fastest) {
		s.Set("reading", snapshot.Text(readingImpossible))
		err = errors.New(strconv.FormatInt(n, 10) + " rpm cannot be")
	}
	if err != nil {
		s.Fail("rpm", err)
		s.Fail("turning", err)
		return
	}
	s.Set("reading", snapshot.Text(readingGood))
	s.Set("rpm", snapshot.Int(n))
	s.Set("turning", snapshot.Text(d.turning(n, strings.TrimPrefix(prefix, "fan"))))
	d.alarms(s, prefix, "", "min")
}

// turning says why a fan stands: its control of the same number may give it no power.
func (d *device) turning(rpm int64, number string) string {
	if rpm > 0 {
		return "yes"
	}
	if duty, err := d.root.Int(d.ctx, d.dir, "pwm"+number); err == nil && duty == 0 {
		return "parked"
	}
	return "no"
}
