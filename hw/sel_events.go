package hw

import (
	"fmt"
)

// Severities of an event, as lastgood sees them.
const (
	selCritical = "critical"
	selWarning  = "warning"
	selNotice   = "info"
)

// selEvent says what an offset of an event means and how much it matters.
type selEvent struct{ severity, text string }

// thresholdEvents are the offsets of event type 0x01 (IPMI 2.0, table 42-2).
var thresholdEvents = map[uint8]selEvent{
	0x00: {selWarning, "below its lower warning limit"}, 0x02: {selCritical, "below its lower critical limit"}, 0x04: {selCritical, "below its lower limit for damage"},
	0x07: {selWarning, "above its upper warning limit"}, 0x09: {selCritical, "above its upper critical limit"}, 0x0b: {selCritical, "above its upper limit for damage"},
}

// genericEvents are the offsets of event types that serve any sensor (table 42-2), by
// event type and offset.
var genericEvents = map[[2]uint8]selEvent{
	{0x04, 1}: {selWarning, "failure predicted"}, {0x05, 1}: {selWarning, "limit exceeded"}, {0x06, 1}: {selWarning, "performance lags"},
	{0x07, 1}: {selWarning, "became non-critical"}, {0x07, 2}: {selCritical, "became critical"}, {0x07, 3}: {selCritical, "became non-recoverable"},
	{0x07, 5}: {selCritical, "became critical"}, {0x07, 6}: {selCritical, "became non-recoverable"},
	{0x0b, 1}: {selWarning, "redundancy lost"}, {0x0b, 2}: {selWarning, "redundancy degraded"}, {0x0b, 3}: {selWarning, "not redundant, resources suffice"},
	{0x0b, 5}: {selCritical, "not redundant, resources do not suffice"},
}

// specificEvents are the offsets of event type 0x6f (table 42-3), by sensor type and
// offset. What is not here is information: presence, power switched, log cleared.
var specificEvents = map[[2]uint8]selEvent{
	{0x05, 0}: {selWarning, "chassis opened"}, {0x05, 4}: {selWarning, "network cable lost"},
	{0x07, 0}: {selCritical, "internal error (IERR)"}, {0x07, 1}: {selCritical, "thermal trip"}, {0x07, 2}: {selCritical, "failed its self-test"},
	{0x07, 3}: {selCritical, "hung in the self-test"}, {0x07, 4}: {selCritical, "failed at start"}, {0x07, 5}: {selWarning, "configuration error"},
	{0x07, 6}: {selCritical, "uncorrectable error"}, {0x07, 8}: {selWarning, "disabled"}, {0x07, 10}: {selWarning, "throttled"},
	{0x07, 11}: {selCritical, "uncorrectable machine check"}, {0x07, 12}: {selWarning, "correctable machine check"},
	{0x08, 1}: {selCritical, "failed"}, {0x08, 2}: {selWarning, "failure predicted"}, {0x08, 3}: {selCritical, "input lost"},
	{0x08, 4}: {selWarning, "input lost or out of range"}, {0x08, 5}: {selWarning, "input out of range"}, {0x08, 6}: {selWarning, "configuration error"},
	{0x09, 2}: {selCritical, "240 VA power down"}, {0x09, 4}: {selWarning, "input lost"}, {0x09, 5}: {selCritical, "soft power control failed"},
	{0x09, 6}: {selCritical, "failed"}, {0x09, 7}: {selWarning, "failure predicted"},
	{0x0c, 0}: {selWarning, "correctable ECC error"}, {0x0c, 1}: {selCritical, "uncorrectable ECC error"}, {0x0c, 2}: {selCritical, "parity error"},
	{0x0c, 3}: {selCritical, "scrubbing failed"}, {0x0c, 4}: {selWarning, "device disabled"}, {0x0c, 5}: {selWarning, "limit of correctable ECC errors reached"},
	{0x0c, 7}: {selWarning, "configuration error"}, {0x0c, 9}: {selWarning, "throttled"}, {0x0c, 10}: {selCritical, "too hot"},
	{0x0d, 1}: {selCritical, "fault"}, {0x0d, 2}: {selWarning, "failure predicted"}, {0x0d, 5}: {selCritical, "in a critical array"},
	{0x0d, 6}: {selCritical, "in a failed array"}, {0x0d, 8}: {selWarning, "rebuild aborted"},
	{0x0f, 0}: {selWarning, "error in the firmware's self-test"}, {0x0f, 1}: {selCritical, "the firmware hung"},
	{0x10, 0}: {selWarning, "logging of correctable memory errors disabled"}, {0x10, 3}: {selWarning, "all logging disabled"}, {0x10, 4}: {selWarning, "log is full"},
	{0x13, 1}: {selCritical, "bus timeout"}, {0x13, 2}: {selCritical, "I/O channel check"}, {0x13, 3}: {selWarning, "software NMI"}, {0x13, 4}: {selCritical, "PCI parity error (PERR)"},
	{0x13, 5}: {selCritical, "PCI system error (SERR)"}, {0x13, 7}: {selWarning, "correctable bus error"}, {0x13, 8}: {selCritical, "uncorrectable bus error"},
	{0x13, 9}: {selCritical, "fatal NMI"}, {0x13, 10}: {selCritical, "fatal bus error"}, {0x13, 11}: {selWarning, "bus degraded"},
	{0x19, 0}: {selWarning, "soft power control failed"}, {0x19, 1}: {selCritical, "thermal trip"},
	{0x1b, 1}: {selWarning, "cable wrongly connected"},
	{0x20, 0}: {selCritical, "operating system stopped while it was loaded"}, {0x20, 1}: {selCritical, "operating system stopped"},
	{0x21, 0}: {selWarning, "fault"}, {0x21, 8}: {selWarning, "disabled"},
	{0x23, 0}: {selWarning, "watchdog expired"}, {0x23, 1}: {selCritical, "watchdog reset the host"}, {0x23, 2}: {selCritical, "watchdog switched the host off"},
	{0x23, 3}: {selCritical, "watchdog switched the host off and on"}, {0x23, 8}: {selWarning, "watchdog is about to expire"},
	{0x28, 0}: {selWarning, "sensor access degraded"}, {0x28, 1}: {selWarning, "controller access degraded"}, {0x28, 2}: {selWarning, "controller off-line"},
	{0x28, 3}: {selWarning, "controller not available"}, {0x28, 4}: {selWarning, "sensor failed"}, {0x28, 5}: {selWarning, "replaceable unit failed"},
	{0x29, 0}: {selWarning, "low"}, {0x29, 1}: {selWarning, "failed"},
}

// sensorTypes name sensor type codes (table 42-3).
var sensorTypes = map[uint8]string{
	0x01: "temperature", 0x02: "voltage", 0x03: "current", 0x04: "fan", 0x05: "physical security", 0x06: "platform security", 0x07: "processor", 0x08: "power supply",
	0x09: "power unit", 0x0a: "cooling device", 0x0b: "other units", 0x0c: "memory", 0x0d: "drive slot", 0x0e: "memory resize", 0x0f: "firmware progress", 0x10: "event logging",
	0x11: "watchdog 1", 0x12: "system event", 0x13: "critical interrupt", 0x14: "button", 0x15: "board", 0x16: "microcontroller", 0x17: "add-in card", 0x18: "chassis",
	0x19: "chip set", 0x1a: "other replaceable unit", 0x1b: "cable", 0x1c: "terminator", 0x1d: "system boot", 0x1e: "boot error", 0x1f: "base OS boot", 0x20: "OS stop",
	0x21: "slot", 0x22: "ACPI power state", 0x23: "watchdog 2", 0x24: "platform alert", 0x25: "entity presence", 0x26: "monitor", 0x27: "LAN", 0x28: "management health",
	0x29: "battery", 0x2a: "session audit", 0x2b: "version change", 0x2c: "replaceable unit state",
}

// judge says how much an entry matters and what it is, in words. That a state ended
// (deassertion) and what only the maker can read is information.
func (e *selEntry) judge() (severity, text string) {
	const threshold, specific = 0x01, 0x6f
	if e.kind != selSystem {
		return selNotice, fmt.Sprintf("entry of type 0x%02x of the maker's own: % x", e.kind, e.oem)
	}
	sensor := sensorTypes[e.sensorType]
	if sensor == "" {
		sensor = fmt.Sprintf("sensor of type 0x%02x", e.sensorType)
	}
	sensor = fmt.Sprintf("%s (sensor 0x%02x)", sensor, e.sensor)
	offset := e.data[0] & 0x0f
	var event selEvent
	switch e.eventType {
	case threshold:
		event = thresholdEvents[offset]
	case specific:
		event = specificEvents[[2]uint8{e.sensorType, offset}]
	default:
		event = genericEvents[[2]uint8{e.eventType, offset}]
	}
	if event.text == "" {
		event = selEvent{selNotice, fmt.Sprintf("event 0x%02x:%d, data % x", e.eventType, offset, e.data)}
	}
	if e.deasserted {
		return selNotice, sensor + ": no longer " + event.text
	}
	return event.severity, sensor + ": " + event.text
}
