package hw

import (
	"path"
	"regexp"

	"lastgood/internal/snapshot"
)

var (
	zone = regexp.MustCompile(`^thermal_zone[0-9]+$`)
	trip = regexp.MustCompile(`^(trip_point_[0-9]+)_type$`)
)

// readZone reads a zone; a class folder holds cooling devices too. The number of a
// zone is the order of loading, so it is known by its type.
func (d *device) readZone() ([]snapshot.Subject, error) {
	if !zone.MatchString(d.name) {
		return nil, nil
	}
	kind, err := d.root.Attr(d.ctx, d.dir, "type")
	if err != nil {
		return nil, err
	}
	s := reading{snapshot.Subject{Kind: sensorKind, Outcome: snapshot.Measured}}
	s.ID = path.Join("thermal", joinWords(kind))
	s.Label = "thermal zone " + kind
	s.Set("type", snapshot.Text("temperature"))
	s.Set("chip", snapshot.Text(kind))
	s.Set("name", snapshot.Text(d.name))
	d.Subject = s.Subject
	d.keep("mode", "mode")
	s.Subject = d.Subject
	d.readTrips(&s)
	n, err := d.root.Int(d.ctx, d.dir, "temp")
	if err != nil {
		s.Fail("value_celsius", err)
	} else {
		s.temperature(n, false)
	}
	return []snapshot.Subject{s.Subject}, nil
}

// readTrips takes the limits from the trip points: at "hot" the firmware wants to be
// told, at "critical" the kernel powers off. Passive and active ones are day-to-day.
func (d *device) readTrips(s *reading) {
	files, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		s.Fail("limit_celsius", err)
		return
	}
	var hot, critical int64
	for _, f := range files {
		m := trip.FindStringSubmatch(f)
		if m == nil {
			continue
		}
		kind, err := d.root.Attr(d.ctx, d.dir, f)
		if err != nil {
			s.Fail("limit_celsius", err)
			continue
		}
		switch kind {
		case "hot":
			hot = d.milli(s, "limit_celsius", m[1]+"_temp")
		case "critical":
			critical = d.milli(s, "crit_celsius", m[1]+"_temp")
		}
	}
	s.limits(hot, critical)
}
