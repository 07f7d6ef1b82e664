package report

import (
	"maps"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// fact is what is said of an attribute: its value between words, unless it goes without
// saying. {NAME} in the words stands for another attribute; without that one they are not said.
type fact struct {
	attr, before, after string
	// usual are values that go without saying.
	usual []string
}

// said is what a person looks for in a kind, in this order. Everything else is for
// --verbose and for JSON.
var saidOf = map[string][]fact{
	"hw.machine": {{attr: "bios_version", before: "firmware ", after: " of {bios_date}"}, {attr: "board", before: "board "}},
	"hw.cpu": {{attr: "online", after: " of {present} online"}, {attr: "offline", before: "offline "}, {attr: "cores", after: " cores"},
		{attr: "sockets", after: " sockets"}, {attr: "smt", before: "SMT ", usual: []string{"on", "notsupported", "notimplemented"}}, {attr: "governor"}},
	"hw.memory": {{attr: "cpus", before: "CPUs "}},
	"hw.dimm":   {{attr: "vendor"}, {attr: "part"}, {attr: "configured_mts", after: " MT/s"}, {attr: "serial", before: "serial "}},
	"hw.edac":   {{attr: "controller"}, {attr: "corrected", after: " corrected", usual: []string{"0"}}, {attr: "uncorrected", after: " uncorrected", usual: []string{"0"}}},
	"hw.bmc": {{attr: "driver", usual: []string{"none"}}, {attr: "state", usual: []string{"working"}}, {attr: "interface"}, {attr: "firmware", before: "firmware "},
		{attr: "ipmi_version", before: "IPMI "}, {attr: "described_address", before: "at "}},
	"hw.bmc_sensor": {{attr: "state", usual: []string{"ok"}}, {attr: "limit_celsius", before: "limit "}, {attr: "crit_celsius", before: "critical "}},
	"hw.chassis": {{attr: "power_restore", before: "when power returns: "}, {attr: "intrusion", before: "open: ", usual: []string{"no"}}, {attr: "power_fault", before: "power fault: ", usual: []string{"no"}},
		{attr: "fan_fault", before: "fan fault: ", usual: []string{"no"}}, {attr: "drive_fault", before: "drive fault: ", usual: []string{"no"}}},
	"hw.sel": {{attr: "entries", after: " entries"}, {attr: "critical", before: "critical: ", usual: []string{""}}, {attr: "overflow", before: "overflow: ", usual: []string{"no"}}},
	"hw.pci": {{attr: "driver", usual: []string{"none"}}, {attr: "handed_to", before: "handed to "}, {attr: "link_full_speed", before: "full link speed: ", usual: []string{"yes"}},
		{attr: "aer_fatal", before: "fatal errors: ", usual: []string{"0"}}, {attr: "aer_nonfatal", before: "errors: ", usual: []string{"0"}}},
	"hw.xhci":          {{attr: "state", before: "controller ", usual: []string{"running"}}, {attr: "ports", after: " ports"}},
	"hw.raid":          {{attr: "model"}, {attr: "firmware", before: "firmware "}, {attr: "host_state", before: "host ", usual: []string{"running"}}},
	"hw.raid_firmware": {{attr: "product"}, {attr: "package", before: "package "}, {attr: "battery", before: "battery "}, {attr: "serial", before: "serial "}},
	"hw.raid_volume":   {{attr: "state"}},
	"hw.raid_disk": {{attr: "state"}, {attr: "model"}, {attr: "serial", before: "serial "}, {attr: "media_errors", after: " media errors", usual: []string{"0"}},
		{attr: "predictive_failures", after: " predicted failures", usual: []string{"0"}}},
	"hw.usb": {{attr: "driver", usual: []string{"none"}}, {attr: "bridge"}, {attr: "serial", before: "serial "}},
	"hw.disk": {{attr: "model"}, {attr: "state", usual: []string{"running", "live"}}, {attr: "ro", before: "read-only: ", usual: []string{"no"}}, {attr: "serial", before: "serial "},
		{attr: "io_timeouts", after: " timeouts", usual: []string{"0"}}},
	"hw.smart": {{attr: "critical_warning", before: "warns of ", usual: []string{""}}, {attr: "temperature_celsius"}, {attr: "percentage_used", after: " % used"}, {attr: "media_errors", after: " media errors", usual: []string{"0"}},
		{attr: "pending", after: " sectors pending", usual: []string{"0"}}, {attr: "reallocated", after: " sectors reallocated", usual: []string{"0"}}},
	"hw.partition": {{attr: "type"}, {attr: "fs_label"}, {attr: "group", before: "group "}, {attr: "fs_uuid"}, {attr: "ro", before: "read-only: ", usual: []string{"no"}}},
	"hw.md": {{attr: "level"}, {attr: "state", usual: []string{"running"}}, {attr: "disks", after: " disks"}, {attr: "degraded", after: " missing", usual: []string{"0"}},
		{attr: "failed", after: " failed", usual: []string{"0"}}, {attr: "sync_action", usual: []string{"idle"}}, {attr: "type"}, {attr: "fs_label"}, {attr: "fs_uuid"}},
	"hw.dm": {{attr: "maker"}, {attr: "suspended", before: "suspended: ", usual: []string{"no"}}, {attr: "type"}, {attr: "fs_label"}, {attr: "fs_uuid"}},
	"net.interface": {{attr: "driver"}, {attr: "carrier", before: "link "}, {attr: "operstate"}, {attr: "duplex", after: " duplex"}, {attr: "master", before: "in ", usual: []string{"none"}}, {attr: "mac"},
		{attr: "firmware", before: "firmware "}, {attr: "vfs", after: " virtual functions", usual: []string{"0"}}},
	"hw.sensor": {{attr: "reading", usual: []string{"good"}}, {attr: "turning", before: "turns: ", usual: []string{"yes"}},
		{attr: "alarms", before: "alarm: ", usual: []string{""}}, {attr: "limit_celsius", before: "limit "}, {attr: "crit_celsius", before: "critical "}, {attr: "min_rpm", before: "least "}},
	"hw.cooling":   {{attr: "devices", after: " devices"}, {attr: "cur_state", before: "step ", after: " of {max_state}"}},
	"hw.scsi_host": {{attr: "driver"}, {attr: "state"}},
	"hw.usb_port":  {{attr: "over_current_count", before: "switched off for too much current: "}},
}

// otherwise is said of a kind that has no list.
var otherwise = []fact{{attr: "model"}, {attr: "driver"}, {attr: "state"}, {attr: "serial", before: "serial "}}

// amounts are the attributes that stand in a column of their own: the first that there is.
var amounts = []string{"value_celsius", "rpm", "volts", "speed_bits", "size_bytes"}

// describe fills in a node's columns.
func (t *tree) describe(n *node, byKey map[string]*node) {
	name, about := nameOf(n.sub)
	n.name = cut(name, 40)
	n.marks = t.marks.of(n)
	if about != "" {
		n.facts = append(n.facts, cut(about, longText))
	}
	if n.gone {
		return // of what is gone it is enough to say what it was
	}
	if n.sub.Outcome != snapshot.Measured {
		n.facts = append(n.facts, "("+flat(joined(": ", string(n.sub.Outcome), n.sub.Reason))+")")
	}
	for _, s := range append([]*snapshot.Subject{n.sub}, n.also...) {
		n.amount = orElse(n.amount, t.amountOf(s))
		n.facts = append(n.facts, t.factsOf(s)...)
	}
	if n.sub.Kind == "hw.pci" {
		n.amount = orElse(n.amount, t.link(n.sub))
	}
	n.facts = slices.Compact(n.facts)
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// nameOf is what a subject is called in the first column, and what else its label says.
// Names of PCI and USB devices are numbers, and stand behind the bus's.
func nameOf(s *snapshot.Subject) (name, about string) {
	label := flat(s.Name())
	name = label
	for _, attr := range []string{"name", "address"} {
		today := flat(s.Text(attr))
		if before, found := strings.CutSuffix(label, " ("+today+")"); found && today != "" {
			name, about = today, before
			break
		}
	}
	switch s.Kind {
	case "hw.pci":
		name = "pci " + strings.TrimPrefix(name, "0000:")
	case "hw.usb":
		name = "usb " + name
	case "hw.disk", "hw.partition", "net.interface":
		about = "" // the model and the number are among the facts
	case "hw.cpu":
		name = "CPUs"
	}
	return strings.TrimSpace(name), about
}

func (t *tree) amountOf(s *snapshot.Subject) string {
	for _, a := range amounts {
		if v, ok := s.Attrs[a]; ok {
			text, _, _ := strings.Cut(t.value(s.Kind, a, v), " (") // without the exact number of bytes
			return cut(text, 20)
		}
	}
	return ""
}

// link is a PCI function's link: lanes and their speed.
func (t *tree) link(s *snapshot.Subject) string {
	width, ok := s.Attrs["link_width"].Int()
	if v, has := s.Attrs["link_speed_max_bits"]; ok && has && width > 0 {
		return strings.Replace(t.value(s.Kind, "link_speed_max_bits", v), "Gb/s", "GT/s", 1) + " ×" + flat(s.Attrs["link_width"].String())
	}
	return ""
}

func (t *tree) factsOf(s *snapshot.Subject) []string {
	var out []string
	if t.p.o.Verbose {
		for _, n := range slices.Sorted(maps.Keys(s.Attrs)) {
			if v := s.Attrs[n]; v.String() != "" && v.String() != s.Name() {
				out = append(out, flat(factName(n)+" "+t.value(s.Kind, n, v)))
			}
		}
		return append(out, unread(s)...)
	}
	list, ok := saidOf[s.Kind]
	if !ok {
		list = otherwise
	}
	for _, f := range list {
		v, has := s.Attrs[f.attr]
		if text := flat(v.String()); !has || text == "" || slices.Contains(f.usual, text) {
			continue
		}
		said := t.value(s.Kind, f.attr, v)
		if f.attr == "carrier" {
			said = map[string]string{"yes": "up", "no": "down"}[said]
		}
		out = append(out, f.before+cut(said, 60)+t.after(s, f, said))
	}
	if len(s.Errs) > 0 {
		out = append(out, cut(flat("unreadable: "+strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(s.Errs)), " "), "_", " ")), longText))
	}
	return out
}

// after is what stands behind a fact's value: a noun in its number, another value.
func (t *tree) after(s *snapshot.Subject, f fact, value string) string {
	before, rest, found := strings.Cut(f.after, "{")
	name, end, _ := strings.Cut(rest, "}")
	switch v, has := s.Attrs[name]; {
	case found && has:
		return before + cut(t.value(s.Kind, name, v), 60) + end
	case found:
		return end
	case value == "1":
		return strings.TrimSuffix(f.after, "s")
	}
	return f.after
}

// value is an attribute's value in its unit; the exact number of bytes beside the
// rounded one is for --verbose.
func (t *tree) value(kind, attr string, v snapshot.Value) string {
	unit := unitOf(attr)
	if k := t.kinds[kind]; k != nil {
		if a, ok := k.Attr(attr); ok {
			unit = a.Unit
		}
	}
	text := flat(unit.Brief(v))
	if t.p.o.Verbose {
		text = flat(unit.Format(v))
	}
	if unit == snapshot.Bits {
		text = strings.Replace(text, "bit/s", "b/s", 1)
	}
	return text
}

// unread says which attributes could not be read, and why.
func unread(s *snapshot.Subject) []string {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(s.Errs)) {
		out = append(out, cut(flat(factName(n)+" unreadable: "+s.Errs[n]), longText))
	}
	return out
}

// factName is an attribute's name without its unit, for the value bears it.
func factName(attr string) string {
	for _, unit := range []string{"_bytes", "_bits", "_celsius", "_rpm", "_seconds"} {
		attr = strings.TrimSuffix(attr, unit)
	}
	return strings.ReplaceAll(attr, "_", " ")
}
