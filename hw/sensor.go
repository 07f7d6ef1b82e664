package hw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const sensorKind = "hw.sensor"

var sensorSource = catalogue.Add(source.Source{
	Name:  "sensor",
	Doc:   "temperatures, fans and what cools\n\nReads hwmon chips in /sys/class/hwmon and zones and cooling devices in /sys/class/thermal.",
	Kinds: []snapshot.Kind{sensor, cooling},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		chips, err1 := readSensors(ctx, h, "/sys/class/hwmon", (*device).readChip)
		zones, err2 := readSensors(ctx, h, "/sys/class/thermal", (*device).readZone)
		coolers, err3 := readCooling(ctx, h)
		return append(unlike(append(chips, unfolded(zones, chips)...)), coolers...), errors.Join(err1, err2, err3)
	},
})

// Sensors reads the temperatures and fans alone, as the source of sensors does: for
// what samples them again and again.
func Sensors(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	all, err := sensorSource.Read(ctx, h)
	return slices.DeleteFunc(all, func(s snapshot.Subject) bool { return s.Kind != sensorKind }), err
}

// Limits where neither driver nor firmware gives one, in degrees Celsius.
const (
	warmFallback = 75
	hotFallback  = 90
)

// Values of the attribute "reading".
const (
	readingGood       = "good"
	readingFaulty     = "faulty"
	readingImpossible = "impossible"
)

var sensor = snapshot.Kind{
	Name: sensorKind,
	Doc: "a temperature sensor or a fan, known by the device that it sits on, its chip and its label. A sensor that its chip calls faulty, or that reads what no " +
		"temperature can be, gives no value.",
	Attrs: []snapshot.Attr{
		{Name: "type", Doc: "temperature or fan"},
		{Name: "chip", Doc: "what the driver calls the chip or zone"},
		{Name: "value_celsius", Unit: snapshot.Celsius, Better: snapshot.LowerBetter, Noise: snapshot.Ambient, LimitAttr: "limit_celsius", Doc: "temperature"},
		{Name: "limit_celsius", Unit: snapshot.Celsius, Doc: "temperature that it should stay below, as its driver says: the maximum, at least 5 °C below the critical one"},
		{Name: "crit_celsius", Unit: snapshot.Celsius, Doc: "temperature at which something stops to save itself; of a zone the lowest hot or critical trip point"},
		{Name: "emergency_celsius", Unit: snapshot.Celsius, Doc: "temperature at which the chip itself acts"},
		{Name: "trips", Doc: "trip points of the zone, with their temperatures"},
		{Name: "alarms", Better: snapshot.LowerBetter, Doc: "limits that the chip says are crossed"},
		{Name: "reading", Doc: "good, or why there is no value: faulty (the chip says so), impossible (nothing can read so)"},
		{Name: "rpm", Unit: snapshot.RPM, Noise: snapshot.Ambient, Doc: "speed of the fan"},
		{Name: "min_rpm", Unit: snapshot.RPM, Doc: "speed that the fan should not fall below, as its chip is set"},
		{Name: "turning", Doc: "yes where the fan turns, parked where it stands because its control gives it no power, no where it stands or failed"},
		{Name: "fault", Doc: "yes where the chip says that the sensor is broken or not connected, or that the fan failed"},
		{Name: "mode", Doc: "enabled where the kernel acts on the zone's trip points"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "device that it sits on"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "folder and attribute of today"},
		{Name: "also", Noise: snapshot.Evidence, Doc: "where the kernel tells of the same sensor again"},
	},
	Rules: []snapshot.Rule{
		{Code: "sensor-missing", On: snapshot.OnMissing, Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "sensor {name} is gone: nobody would notice its heat",
			Hint: "its driver may load later, or be missing from this kernel"},
		{Code: "sensor-critical", On: snapshot.OnAbove, Attr: "value_celsius", LimitAttr: "crit_celsius", Floor: hotFallback, Topic: "heat", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "{name} is at {new}, {limit} is critical", Hint: "look at fans and air flow before anything else"},
		{Code: "sensor-hot", On: snapshot.OnAbove, Attr: "value_celsius", LimitAttr: "limit_celsius", Floor: warmFallback, Topic: "heat", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} is at {new}, its limit is {limit}"},
		{Code: "sensor-alarm", On: snapshot.OnWorse, Attr: "alarms", Topic: "heat", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the chip of {name} raised the alarm: {gained}"},
		{Code: "sensor-failed", On: snapshot.OnBecomes, Attr: "reading", From: []string{readingGood}, To: []string{readingFaulty, readingImpossible}, Topic: "sensor",
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Message: "sensor {name} reads nothing that can be used now: {new}", Hint: "it may be broken, not connected, or misread by its driver"},
		{Code: "fan-stopped", On: snapshot.OnBecomes, Attr: "turning", From: []string{"yes", "parked"}, To: []string{"no"}, Topic: "sensor", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "fan {name} does not turn now", Hint: "look at the fan; some stand still when it is cool enough: then turn this rule down"},
		{Code: "fan-parked", On: snapshot.OnBecomes, Attr: "turning", From: []string{"yes"}, To: []string{"parked"}, Topic: "sensor", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "fan {name} stands still now: its control gives it no power"},
		{Code: "zone-disabled", On: snapshot.OnBecomes, Attr: "mode", From: []string{"enabled"}, To: []string{"disabled"}, Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the kernel does not act on the trip points of {name} now"},
		{Code: "trips-changed", On: snapshot.OnChanged, Attr: "trips", Severity: snapshot.Info, Class: snapshot.ClassKernel, Message: "the trip points of {name} are {new}, were {old}"},
	},
}

// Temperatures beyond these are a sensor's way to say that it has none.
const (
	coldest = -40
	hottest = 150
)

// mute are the readings of chips that have nothing to read: all bits of a register set,
// or one bit short of it (lm-sensors, netdata and Vitals have met each of these).
var mute = []float64{-128, -127, 127, 127.5, 128, 255, 255.5, 511, 511.5}

// sane refuses a temperature that cannot be.
func sane(celsius float64) error {
	if celsius < coldest || celsius > hottest || slices.Contains(mute, celsius) {
		return fmt.Errorf("%g °C cannot be", celsius)
	}
	return nil
}

// temperature sets a reading in thousandths of a degree. bare is that the sensor has
// no label: such a one at exactly 0 °C is an input with nothing behind it.
func (s *reading) temperature(milli int64, faulty, bare bool) {
	celsius := float64(milli) / 1000
	err := sane(celsius)
	if milli == 0 && bare {
		err = errors.New("exactly 0 °C without a label: an input with nothing behind it")
	}
	switch {
	case faulty:
		s.Set("reading", snapshot.Text(readingFaulty))
		s.Fail("value_celsius", fmt.Errorf("the chip says that the sensor is faulty (it reads %g °C)", celsius))
	case err != nil:
		s.Set("reading", snapshot.Text(readingImpossible))
		s.Fail("value_celsius", err)
	default:
		s.Set("reading", snapshot.Text(readingGood))
		s.Set("value_celsius", snapshot.Float(celsius))
	}
}

// Distance of the limit from the critical temperature: processors are made to run
// close to theirs.
const (
	distance    = 5
	farDistance = 10
	processors  = 95
)

// limits sets the limits in thousandths of a degree; 0 and what cannot be are not
// set, as drivers and firmware leave them. A chip that gives a critical temperature
// alone, or a maximum close to it, has its limit below that. Some are set up the wrong
// way round: the maximum above the critical one.
func (s *reading) limits(limit, crit, emergency int64) {
	if limit > crit && crit > 0 && sane(float64(limit)/1000) == nil {
		limit, crit = crit, limit
	}
	set := func(name string, milli int64) (float64, bool) {
		celsius := float64(milli) / 1000
		if celsius <= 0 || sane(celsius) != nil {
			return 0, false
		}
		s.Set(name, snapshot.Float(celsius))
		return celsius, true
	}
	l, has := set("limit_celsius", limit)
	set("emergency_celsius", emergency)
	c, hasCrit := set("crit_celsius", crit)
	below := c - distance
	if !has && c >= processors {
		below = c - farDistance
	}
	if hasCrit && (!has || l > below) {
		s.Set("limit_celsius", snapshot.Float(below))
	}
}

// unfolded drops the zones that tell of sensors which a chip tells of, with better
// limits: each processor package has a zone x86_pkg_temp (drivers/thermal/intel) and a
// sensor of coretemp (drivers/hwmon), over one register.
func unfolded(zones, chips []snapshot.Subject) []snapshot.Subject {
	isZone := func(s snapshot.Subject) bool { return s.Text("chip") == "x86_pkg_temp" }
	var packages []*snapshot.Subject
	for i := range chips {
		if chips[i].Text("chip") == "coretemp" && strings.Contains(chips[i].Label, "Package") {
			packages = append(packages, &chips[i])
		}
	}
	var same []snapshot.Subject
	for _, z := range zones {
		if isZone(z) {
			same = append(same, z)
		}
	}
	if len(same) == 0 || len(same) != len(packages) {
		return zones // which is which cannot be told
	}
	for i, p := range packages {
		p.Set("also", snapshot.Text(same[i].Text("name")))
	}
	return slices.DeleteFunc(zones, isZone)
}

// reading is one sensor of a chip.
type reading struct{ snapshot.Subject }
