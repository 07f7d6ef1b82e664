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
		if label == "" {
			label = prefix
		}
		s.ID = path.Join(place, chip, joinWords(label))
		s.Label = chip + " " + label
		if m[1] == "fan" {
			d.readFan(&s, prefix)
		} else {
			d.readTemp(&s, prefix)
		}
		out = append(out, s.Subject)
	}
	return out, nil
}

// faulty reads the bit by which a chip says that a sensor is broken; many have none.
func (d *device) faulty(s *reading, prefix string) bool {
	bit, err := d.root.Attr(d.ctx, d.dir, prefix+"_fault")
	if sysfs.Absent(err) {
		return false
	}
	if err != nil {
		s.Fail("fault", err)
		return false
	}
	s.Set("fault", yesNo(bit != "0"))
	return bit != "0"
}

func (d *device) readTemp(s *reading, prefix string) {
	s.Set("type", snapshot.Text("temperature"))
	faulty := d.faulty(s, prefix)
	s.limits(d.milli(s, "limit_celsius", prefix+"_max"), d.milli(s, "crit_celsius", prefix+"_crit"))
	n, err := d.root.Int(d.ctx, d.dir, prefix+"_input")
	if err != nil {
		s.Fail("value_celsius", err)
		return
	}
	s.temperature(n, faulty)
}

// milli reads a limit, 0 where it is not set.
func (d *device) milli(s *reading, name, file string) int64 {
	n, err := d.root.Int(d.ctx, d.dir, file)
	if err != nil && !sysfs.Absent(err) {
		s.Fail(name, err)
	}
	return n
}

// fastest is beyond what a fan can turn at.
const fastest = 100_000

func (d *device) readFan(s *reading, prefix string) {
	s.Set("type", snapshot.Text("fan"))
	faulty := d.faulty(s, prefix)
	n, err := d.root.Int(d.ctx, d.dir, prefix+"_input")
	switch {
	case err != nil:
	case faulty:
		err = errors.New("the chip says that the fan is faulty")
	case n < 0 || n > fastest:
		err = errors.New(strconv.FormatInt(n, 10) + " rpm cannot be")
	}
	if err != nil {
		s.Fail("rpm", err)
		s.Fail("turning", err)
		return
	}
	s.Set("rpm", snapshot.Int(n))
	s.Set("turning", yesNo(n > 0))
}
