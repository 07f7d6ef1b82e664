package hw

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const bmcSensorKind = "hw.bmc_sensor"

var _ = catalogue.Add(source.Source{
	Name: "bmc_sensor", Tier: source.Thorough,
	Doc: `the sensors of the management controller, with their limits

Asks the controller through /dev/ipmi0 for its list of sensors (SDR) and for each one's reading. A server has a hundred or more and each takes
some tens of milliseconds, so this is done only where it is asked for.`,
	Kinds: []snapshot.Kind{bmcSensor},
	Read:  readBMCSensors,
})

var bmcSensor = snapshot.Kind{
	Name: bmcSensorKind,
	Doc:  "a sensor of the management controller that has limits, known by its number and name",
	Attrs: []snapshot.Attr{
		{Name: "type", Doc: "temperature, voltage, current, fan and so on"},
		{Name: "state", Order: []string{"ok", "warning", "critical"}, Doc: "where the reading is against the limits, as the controller says"},
		{Name: "value_celsius", Unit: snapshot.Celsius, Better: snapshot.LowerBetter, Noise: snapshot.Ambient, LimitAttr: "limit_celsius", Doc: "temperature"},
		{Name: "limit_celsius", Unit: snapshot.Celsius, Doc: "temperature that the controller warns at"},
		{Name: "crit_celsius", Unit: snapshot.Celsius, Doc: "temperature that the controller calls critical"},
		{Name: "rpm", Unit: snapshot.RPM, Noise: snapshot.Ambient, Doc: "speed of the fan"},
		{Name: "volts", Unit: snapshot.Volts, Noise: snapshot.Ambient, Doc: "voltage"},
		{Name: "value", Noise: snapshot.Evidence, Doc: "reading of any other kind, with the number of its unit"},
	},
	Rules: []snapshot.Rule{
		{Code: "bmc-sensor-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassHardware, Message: "sensor {name} of the management controller is gone"},
		{Code: "bmc-sensor-critical", On: snapshot.OnBecomes, Attr: "state", From: []string{"ok", "warning"}, To: []string{"critical"}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "{name} is beyond its critical limit, as the management controller says"},
		{Code: "bmc-sensor-warning", On: snapshot.OnBecomes, Attr: "state", From: []string{"ok"}, To: []string{"warning"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{name} is beyond its limit, as the management controller says"},
	},
}

func readBMCSensors(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	if ok, err := askable(ctx, h); !ok {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sensorPatience)
	defer cancel()
	return askBMC(ctx, h, gatherSensors)
}

// sensorPatience is for somebody who waits: two hundred sensors at 50 ms.
const sensorPatience = 10 * time.Second

// gatherSensors walks the list of sensors. What was read before an error is returned
// with it.
func gatherSensors(ctx context.Context, c ipmiClient) ([]snapshot.Subject, error) {
	b, err := c.send(ctx, ipmiSDRRepoInfo)
	if err == nil {
		err = enough("sensor list information", b, 3)
	}
	if err != nil {
		return nil, err
	}
	records := int(b[1]) | int(b[2])<<8
	var out []snapshot.Subject
	for next, n := uint16(0), 0; next != 0xffff && n < records; n++ {
		id := next
		var record []byte
		record, next, err = readSDR(ctx, c, id)
		if completionCode(err) == ipmiNotPresent && n == 0 {
			return nil, nil
		}
		if err != nil {
			return out, err
		}
		r, ok, err := parseSDR(record)
		if err != nil {
			return out, err
		}
		if !ok {
			continue
		}
		s, err := r.subject(ctx, c)
		if err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

// sdrPart is how much of a record is asked for at once where the controller cannot
// give it whole: 16 bytes is what every one can (IPMI 2.0, 33.12).
const sdrPart = 16

// readSDR reads one record and the number of the next.
func readSDR(ctx context.Context, c ipmiClient, id uint16) (record []byte, next uint16, err error) {
	b, err := c.send(ctx, ipmiSDR, 0, 0, byte(id), byte(id>>8), 0, 0xff)
	switch completionCode(err) {
	case ipmiCannotGive, ipmiTooLong, ipmiFieldLimit:
		return readSDRParts(ctx, c, id)
	}
	if err == nil {
		err = enough("sensor record", b, 2+sdrHead)
	}
	if err != nil {
		return nil, 0, err
	}
	return b[2:], uint16(b[0]) | uint16(b[1])<<8, nil
}

// sdrHead is a record's header: number, version, type, length of the rest.
const sdrHead = 5

func readSDRParts(ctx context.Context, c ipmiClient, id uint16) (record []byte, next uint16, err error) {
	r, err := c.send(ctx, ipmiSDRReserve)
	if err == nil {
		err = enough("reservation", r, 2)
	}
	if err != nil {
		return nil, 0, err
	}
	whole := sdrHead
	for len(record) < whole {
		n := min(sdrPart, whole-len(record))
		b, err := c.send(ctx, ipmiSDR, r[0], r[1], byte(id), byte(id>>8), byte(len(record)), byte(n))
		if err == nil {
			err = enough("part of a sensor record", b, 2+n)
		}
		if err != nil {
			return nil, 0, err
		}
		next = uint16(b[0]) | uint16(b[1])<<8
		record = append(record, b[2:2+n]...)
		if len(record) == sdrHead {
			whole = min(sdrHead+int(record[4]), 0xff)
		}
	}
	return record, next, nil
}

// sdr is a full sensor record of a sensor with limits (IPMI 2.0, 43.1).
type sdr struct {
	number, kind uint8
	name         string
	unit         uint8
	signed       uint8 // 0 unsigned, 1 one's complement, 2 two's complement
	linear       uint8
	m, b         int
	rExp, bExp   int
	readable     uint8 // which limits can be read
	warn, crit   uint8 // raw upper limits
}

// parseSDR reads a record; ok is false where it is none of a sensor with limits.
func parseSDR(r []byte) (s sdr, ok bool, err error) {
	const full, least = 0x01, 48
	if err := enough("sensor record", r, sdrHead); err != nil {
		return sdr{}, false, err
	}
	if r[3] != full {
		return sdr{}, false, nil // compact records have no limits, others are no sensors
	}
	if err := enough("sensor record", r, least); err != nil {
		return sdr{}, false, err
	}
	if r[13] != 0x01 || r[5] != bmcAddress || r[6]&3 != 0 {
		return sdr{}, false, nil // no limits, or a satellite's: asked for here its number would mean another
	}
	s = sdr{
		number: r[7], kind: r[12], signed: r[20] >> 6, unit: r[21], linear: r[23] & 0x7f,
		m: signed(int(r[24])|int(r[25])>>6<<8, 10), b: signed(int(r[26])|int(r[27])>>6<<8, 10),
		rExp: signed(int(r[29])>>4, 4), bExp: signed(int(r[29])&0xf, 4), readable: r[18], crit: r[37], warn: r[38],
	}
	if n := int(r[47] & 0x1f); len(r) >= least+n {
		s.name = asciiField(r[least : least+n])
	}
	return s, true, nil
}

// bmcAddress is the owner of the controller's own sensors.
const bmcAddress = 0x20

// signed reads a two's complement of so many bits.
func signed(v, bits int) int {
	if v&(1<<(bits-1)) != 0 {
		return v - 1<<bits
	}
	return v
}

var errNotLinear = errors.New("its reading is not linear")

// value turns a raw reading into units: (M·x + B·10^Bexp)·10^Rexp (36.3).
func (s *sdr) value(raw uint8) (float64, error) {
	if s.linear != 0 {
		return 0, errNotLinear
	}
	x := int(raw)
	switch s.signed {
	case 1:
		if x = signed(x, 8); x < 0 {
			x++
		}
	case 2:
		x = signed(x, 8)
	case 3:
		return 0, errors.New("it has no analogue reading")
	}
	return (float64(s.m*x) + float64(s.b)*math.Pow10(s.bExp)) * math.Pow10(s.rExp), nil
}

// subject reads the sensor. An error is one of the controller's, not of the sensor.
func (s *sdr) subject(ctx context.Context, c ipmiClient) (snapshot.Subject, error) {
	out := snapshot.Subject{Kind: bmcSensorKind, ID: fmt.Sprintf("0x%02x/%s", s.number, s.name), Label: s.name, Parent: bmcKind + "/bmc", Outcome: snapshot.Measured}
	if name := sensorTypes[s.kind]; name != "" {
		out.Set("type", snapshot.Text(name))
	}
	b, err := c.send(ctx, ipmiSensorReading, s.number)
	if completionCode(err) != 0 {
		out.Outcome, out.Reason = snapshot.Inconclusive, err.Error()
		return out, nil
	}
	if err == nil {
		err = enough("sensor reading", b, 2)
	}
	if err != nil {
		return out, err
	}
	const unavailable, scanning = 1 << 5, 1 << 6
	if b[1]&unavailable != 0 || b[1]&scanning == 0 {
		out.Outcome, out.Reason = snapshot.Unsupported, "the controller does not read it now"
		return out, nil
	}
	s.fill(&out, b)
	return out, nil
}

// fill sets the reading, by the number of its unit (43.17), and its limits.
func (s *sdr) fill(out *snapshot.Subject, b []byte) {
	if len(b) > 2 {
		state := "ok"
		if b[2]&(1<<1|1<<2|1<<4|1<<5) != 0 {
			state = "critical"
		} else if b[2]&(1<<0|1<<3) != 0 {
			state = "warning"
		}
		out.Set("state", snapshot.Text(state))
	}
	const celsius, volts, rpm = 1, 4, 18
	v, err := s.value(b[0])
	attr := map[uint8]string{celsius: "value_celsius", volts: "volts", rpm: "rpm"}[s.unit]
	if s.unit == celsius && err == nil {
		err = sane(v)
	}
	switch {
	case err != nil && attr != "":
		out.Fail(attr, err)
	case err != nil:
		out.Fail("value", err)
	case attr != "":
		out.Set(attr, snapshot.Float(v))
	default:
		out.Set("value", snapshot.Text(fmt.Sprintf("%g (unit %d)", v, s.unit)))
	}
	if s.unit != celsius {
		return
	}
	for name, l := range map[string]struct{ bit, raw uint8 }{"limit_celsius": {3, s.warn}, "crit_celsius": {4, s.crit}} {
		if v, err := s.value(l.raw); err == nil && s.readable&(1<<l.bit) != 0 && sane(v) == nil {
			out.Set(name, snapshot.Float(v))
		}
	}
}
