package snapshot

import (
	"fmt"
	"math"
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
		return formatBytes(v, f)
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

// Brief is Format without the exact number behind a rounded one: "1.5 GiB".
func (u Unit) Brief(v Value) string {
	text := u.Format(v)
	if _, isNumber := v.Number(); isNumber {
		text, _, _ = strings.Cut(text, " (")
	}
	return text
}

func formatBytes(v Value, f float64) string {
	exact := group(v) + " bytes"
	if f < 1024 && f > -1024 {
		return exact
	}
	return scaled(f, 1024, []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}) + " (" + exact + ")"
}

func formatSeconds(f float64) string {
	if f < 0 {
		return "-" + formatSeconds(-f)
	}
	switch {
	case f == 0:
		return "0 s"
	case f < 1e-6:
		return trimFloat(f*1e9, 0) + " ns"
	case f < 0.9995e-3: // beyond, it rounds to the next unit
		return trimFloat(f*1e6, 0) + " µs"
	case f < 0.99995:
		return trimFloat(f*1e3, 1) + " ms"
	case f < 120:
		return trimFloat(f, 2) + " s"
	}
	whole := math.Round(f)
	minutes := math.Floor(whole / 60)
	return fmt.Sprintf("%s min %.0f s", group(Float(minutes)), whole-minutes*60)
}

// scaled writes f in the largest unit in which it is not below 1, as rounded.
func scaled(f, base float64, units []string) string {
	i := 0
	for math.Abs(math.Round(f*10)/10) >= base && i < len(units)-1 {
		f /= base
		i++
	}
	return trimFloat(f, 1) + " " + units[i]
}

// trimFloat writes f with at most digits places behind the point, or with an
// exponent where it is too large for its digits to mean anything.
func trimFloat(f float64, digits int) string {
	if math.Abs(f) >= 1<<63 {
		return strconv.FormatFloat(f, 'g', 6, 64)
	}
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// group writes a number with a comma at every thousand, a float to three places. One
// that is too large for that, or so small that it would read as 0, is written whole.
func group(v Value) string {
	var s string
	if n, ok := v.Int(); ok {
		s = strconv.FormatInt(n, 10)
	} else if f, ok := v.Number(); ok && math.Abs(f) >= 1 && math.Abs(f) < 1<<63 {
		s = trimFloat(f, 3)
	} else {
		return v.String()
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	s, fraction, _ := strings.Cut(s, ".")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + s + fraction
}

// Times is how many times as much something is, for people: three digits, and no fewer than there
// are before the point.
func Times(ratio float64) string {
	if ratio >= 999.5 {
		return fmt.Sprintf("×%.0f", ratio)
	}
	return fmt.Sprintf("×%.3g", ratio)
}
