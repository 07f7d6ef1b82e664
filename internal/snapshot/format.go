package snapshot

import (
	"fmt"
	"strconv"
	"strings"
)

// Format is a value for a person, with its unit: "312,700 insns", "1.5 GiB
// (1,610,612,736 bytes)", "12.3 ms", "41.5 °C". No value is "-"; a value that is no
// number is written as it is, whatever the unit.
func (u Unit) Format(v Value) string {
	f, ok := v.Number()
	if !ok {
		return v.String()
	}
	switch u {
	case Bytes:
		return formatBytes(f)
	case Seconds:
		return formatSeconds(f)
	case Celsius:
		return trimFloat(f, 1) + " °C"
	case Bits:
		return scaled(f, 1000, []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"})
	case RPM:
		return group(v) + " rpm"
	case Volts:
		return trimFloat(f, 3) + " V"
	case Insns, States:
		return group(v) + " " + string(u)
	}
	return group(v)
}

func formatBytes(f float64) string {
	exact := group(Int(int64(f))) + " bytes"
	if f < 1024 && f > -1024 {
		return exact
	}
	return scaled(f, 1024, []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}) + " (" + exact + ")"
}

func formatSeconds(f float64) string {
	switch abs := max(f, -f); {
	case abs == 0:
		return "0 s"
	case abs < 1e-3:
		return trimFloat(f*1e6, 0) + " µs"
	case abs < 1:
		return trimFloat(f*1e3, 1) + " ms"
	case abs < 120:
		return trimFloat(f, 2) + " s"
	}
	return fmt.Sprintf("%s min %.0f s", group(Int(int64(f)/60)), f-float64(int64(f)/60*60))
}

func scaled(f, base float64, units []string) string {
	i := 0
	for (f >= base || f <= -base) && i < len(units)-1 {
		f /= base
		i++
	}
	return trimFloat(f, 1) + " " + units[i]
}

// trimFloat writes f with at most digits places behind the point.
func trimFloat(f float64, digits int) string {
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// group writes a whole number with a comma at every thousand.
func group(v Value) string {
	n, ok := v.Int()
	if !ok {
		return v.String()
	}
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
