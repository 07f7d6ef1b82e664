package metrics

import (
	"strings"

	"lastgood/internal/snapshot"
)

// measure is what a number becomes: the end of the metric's name, and what the number
// is multiplied by to be in the base unit.
type measure struct {
	name   string
	factor float64
}

const secondsPerHour = 3600

// counterName is a gauge's name as that of a counter (OpenMetrics 1.0, counter).
func counterName(gauge string) string {
	return strings.TrimSuffix(gauge, "_number") + "_total"
}

// measureOf names an attribute's metric by what Prometheus asks for: base units, the unit
// last, and none of the endings that stand for counters, histograms and texts.
func measureOf(a *snapshot.Attr) measure {
	name := word(a.Name)
	switch a.Unit {
	case snapshot.NoUnit:
		if rest, ok := strings.CutSuffix(name, "_hours"); ok {
			return measure{rest + "_seconds", secondsPerHour}
		}
		return measure{unreserved(name), 1}
	case snapshot.Count:
		return measure{unreserved(name), 1}
	case snapshot.Percent:
		return measure{strings.TrimPrefix(name, "percentage_") + "_ratio", 1.0 / 100}
	case snapshot.Bits:
		name = strings.TrimSuffix(strings.ReplaceAll("_"+name+"_", "_bits_", "_"), "_")
		return measure{strings.TrimPrefix(name+"_bytes_per_second", "_"), 1.0 / 8}
	}
	unit := word(string(a.Unit))
	if strings.Contains("_"+name+"_", "_"+unit+"_") { // insns_processed, seconds_per_run
		return measure{unreserved(name), 1}
	}
	return measure{name + "_" + unit, 1}
}

// unreserved keeps a gauge from being taken for a part of something else.
func unreserved(name string) string {
	head, last := "", name
	if i := strings.LastIndexByte(name, '_'); i >= 0 {
		head, last = name[:i+1], name[i+1:]
	}
	switch last {
	case "count", "total", "sum":
		return head + "number"
	case "bucket", "info", "created":
		return name + "_value"
	}
	return name
}

// metricName is the name of a kind's metric.
func metricName(kind string, parts ...string) string {
	return "lastgood_" + word(kind) + "_" + strings.Join(parts, "_")
}

// word is a text as a metric or a label may be called.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, s)
}

// labelName is how an attribute's text is called on a series; id, name and outcome are
// the subject's own.
func labelName(attr string) string {
	switch n := word(attr); {
	case n == "id", n == "name", n == "outcome", n == "parent", strings.HasPrefix(n, "__"):
		return "attr_" + strings.TrimLeft(n, "_")
	case n == "" || n[0] >= '0' && n[0] <= '9':
		return "attr_" + n
	default:
		return n
	}
}

// maxHelp bounds a help text, in bytes.
const maxHelp = 1 << 10

// sentence is a doc string as a help text.
func sentence(s string) string {
	s = bounded(s, maxHelp)
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimRight(s[1:], ".") + "."
}
