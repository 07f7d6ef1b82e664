package hw

import (
	"fmt"
	"path"
	"regexp"
	"strconv"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
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
		s.temperature(n, false, false)
	}
	return []snapshot.Subject{s.Subject}, nil
}

// maxTrips bounds the trip points of a zone: THERMAL_MAX_TRIPS was 12, and ACPI has
// ten active ones at most.
const maxTrips = 64

// readTrips lists the trip points and takes the critical limit from them: at "hot" the
// firmware wants to be told, at "critical" the kernel powers off. Passive and active
// ones are day-to-day, so a zone has no limit to warn at.
func (d *device) readTrips(s *reading) {
	files, err := d.root.List(d.ctx, d.dir)
	if err != nil {
		s.Fail("trips", err)
		return
	}
	var trips []string
	var lowest int64
	for _, f := range files {
		m := trip.FindStringSubmatch(f)
		if m == nil || len(trips) == maxTrips {
			continue
		}
		kind, err := d.root.Attr(d.ctx, d.dir, f)
		if err != nil {
			s.Fail("trips", err)
			continue
		}
		milli, err := d.root.Int(d.ctx, d.dir, m[1]+"_temp")
		if err != nil && !sysfs.Absent(err) {
			s.Fail("trips", err)
		}
		if err != nil {
			continue
		}
		trips = append(trips, tripText(kind, milli))
		if dire := kind == "hot" || kind == "critical"; dire && milli > 0 && (lowest == 0 || milli < lowest) {
			lowest = milli
		}
	}
	if _, failed := s.Errs["trips"]; !failed && len(trips) > 0 {
		s.Set("trips", snapshot.List(trips...))
	}
	s.zoneLimit(lowest)
}

// zoneLimit sets the critical limit of a zone in thousandths of a degree.
func (s *reading) zoneLimit(milli int64) {
	if celsius := float64(milli) / 1000; celsius > 0 && sane(celsius) == nil {
		s.Set("crit_celsius", snapshot.Float(celsius))
	}
}

// tripText is a trip point for a person; one that the firmware left unset has no
// temperature that can be.
func tripText(kind string, milli int64) string {
	celsius := float64(milli) / 1000
	if celsius <= 0 || sane(celsius) != nil {
		return kind + " unset"
	}
	return fmt.Sprintf("%s %s °C", kind, strconv.FormatFloat(celsius, 'f', -1, 64))
}
