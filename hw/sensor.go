package hw

import (
	"context"
	"errors"
	"fmt"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const sensorKind = "hw.sensor"

var _ = catalogue.Add(source.Source{
	Name:  "sensor",
	Doc:   "temperatures and fans\n\nReads hwmon chips in /sys/class/hwmon and zones in /sys/class/thermal.",
	Kinds: []snapshot.Kind{sensor},
	Read: func(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
		chips, err1 := readSensors(ctx, h, "/sys/class/hwmon", (*device).readChip)
		zones, err2 := readSensors(ctx, h, "/sys/class/thermal", (*device).readZone)
		return unlike(append(chips, zones...)), errors.Join(err1, err2)
	},
})

var sensor = snapshot.Kind{
	Name: sensorKind,
	Doc:  "a temperature sensor or a fan, known by the device that it sits on, its chip and its label",
	Attrs: []snapshot.Attr{
		{Name: "type", Doc: "temperature or fan"},
		{Name: "chip", Doc: "what the driver calls the chip or zone"},
		{Name: "value_celsius", Unit: snapshot.Celsius, Better: snapshot.LowerBetter, Noise: snapshot.Ambient, LimitAttr: "limit_celsius", Doc: "temperature"},
		{Name: "limit_celsius", Unit: snapshot.Celsius, Doc: "temperature that it should stay below, as its driver or firmware says"},
		{Name: "crit_celsius", Unit: snapshot.Celsius, Doc: "temperature at which something stops to save itself"},
		{Name: "rpm", Unit: snapshot.RPM, Noise: snapshot.Ambient, Doc: "speed of the fan"},
		{Name: "turning", Doc: "yes where the fan turns"},
		{Name: "fault", Doc: "yes where the chip says that the sensor is broken or not connected"},
		{Name: "mode", Doc: "enabled where the kernel acts on the zone's trip points"},
		{Name: "location", Noise: snapshot.Evidence, Doc: "device that it sits on"},
		{Name: "name", Noise: snapshot.Evidence, Doc: "folder and attribute of today"},
	},
	Rules: []snapshot.Rule{
		{Code: "sensor-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "sensor {name} is gone",
			Hint: "its driver may load later, or be missing from this kernel"},
		{Code: "sensor-hot", On: snapshot.OnAbove, Attr: "value_celsius", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} is at {new}, its limit is {limit}"},
		{Code: "sensor-failed", On: snapshot.OnBecomes, Attr: "fault", From: []string{"no"}, To: []string{"yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "sensor {name} is broken or not connected now"},
		{Code: "fan-stopped", On: snapshot.OnBecomes, Attr: "turning", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "fan {name} does not turn now", Hint: "some fans stop when it is cool enough"},
	},
}

// Temperatures beyond these are a sensor's way to say that it has none: −128, −273,
// 255, 511 and more have been seen.
const (
	coldest = -60
	hottest = 200
)

// sane refuses a temperature that cannot be.
func sane(celsius float64) error {
	if celsius < coldest || celsius > hottest {
		return fmt.Errorf("%g °C cannot be", celsius)
	}
	return nil
}

// temperature sets a reading in thousandths of a degree.
func (s *reading) temperature(milli int64, faulty bool) {
	celsius := float64(milli) / 1000
	switch err := sane(celsius); {
	case faulty:
		s.Fail("value_celsius", fmt.Errorf("the chip says that the sensor is faulty (it reads %g °C)", celsius))
	case err != nil:
		s.Fail("value_celsius", err)
	default:
		s.Set("value_celsius", snapshot.Float(celsius))
	}
}

// limits sets the limits in thousandths of a degree; 0 and what cannot be are not
// set, as drivers and firmware leave them. The lower of the two is the limit: some
// chips are set up with the two the wrong way round.
func (s *reading) limits(limit, crit int64) {
	for name, milli := range map[string]int64{"limit_celsius": limit, "crit_celsius": crit} {
		if milli > 0 && milli < hottest*1000 {
			s.Set(name, snapshot.Float(float64(milli)/1000))
		}
	}
	l, has := s.Attrs["limit_celsius"].Number()
	if c, ok := s.Attrs["crit_celsius"].Number(); ok && (!has || c < l) {
		s.Set("limit_celsius", snapshot.Float(c))
	}
}

// reading is one sensor of a chip.
type reading struct{ snapshot.Subject }
