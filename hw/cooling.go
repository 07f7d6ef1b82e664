package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const coolingKind = "hw.cooling"

var cooling = snapshot.Kind{
	Name: coolingKind,
	Doc:  "the cooling devices of one type: fans that the kernel drives, and what it slows down to cool it",
	Attrs: []snapshot.Attr{
		{Name: "devices", Unit: snapshot.Count, Better: snapshot.HigherBetter, Doc: "how many there are"},
		{Name: "max_state", Unit: snapshot.Count, Doc: "the most that one of them can do, in steps"},
		{Name: "cur_state", Unit: snapshot.Count, Noise: snapshot.Ambient, Doc: "the most that one of them does now, in steps"},
		{Name: "fan", Doc: "yes where it is a fan by its type"},
	},
	Rules: []snapshot.Rule{
		{Code: "cooling-fan-missing", On: snapshot.OnMissing, Where: map[string]string{"fan": "yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the kernel drives no fan of type {name} now"},
		{Code: "cooling-missing", On: snapshot.OnMissing, Where: map[string]string{"fan": "no"}, Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel has no cooling device of type {name} now"},
		{Code: "cooling-fewer-fans", On: snapshot.OnWorse, Attr: "devices", Where: map[string]string{"fan": "yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "the kernel drives {new} fans of type {name}, were {old}"},
	},
}

var coolingDevice = regexp.MustCompile(`^cooling_device[0-9]+$`)

// readCooling gathers the cooling devices by type: their numbers are the order of
// loading, and a machine has one of type Processor for each of its CPUs.
func readCooling(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	const folder = "/sys/class/thermal"
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, err
	}
	byType := map[string]*cooler{}
	var order []string
	var errs []error
	for _, name := range names {
		if !coolingDevice.MatchString(name) {
			continue
		}
		root := h.Root.OneDevice()
		dir := path.Join(folder, name)
		kind, err := root.Attr(ctx, dir, "type")
		if sysfs.Absent(err) {
			continue // went away while it was read
		}
		if err == nil && kind == "" {
			err = errors.New("its type is empty")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", name, err))
			continue
		}
		id := joinWords(kind)
		if byType[id] == nil {
			byType[id] = &cooler{Subject: snapshot.Subject{Kind: coolingKind, ID: id, Label: kind, Outcome: snapshot.Measured}}
			order = append(order, id)
		}
		byType[id].add(ctx, root, dir)
	}
	var out []snapshot.Subject
	for _, id := range order {
		out = append(out, byType[id].done())
	}
	return out, errors.Join(errs...)
}

// cooler is the cooling devices of one type while they are read.
type cooler struct {
	snapshot.Subject
	devices  int
	max, cur int64
}

func (c *cooler) add(ctx context.Context, root *sysfs.Root, dir string) {
	c.devices++
	most := func(attr string, into *int64) {
		n, err := root.Int(ctx, dir, attr)
		if err != nil {
			c.Fail(attr, err)
		}
		*into = max(*into, n)
	}
	most("max_state", &c.max)
	most("cur_state", &c.cur)
}

func (c *cooler) done() snapshot.Subject {
	c.Set("devices", snapshot.Int(c.devices))
	c.Set("fan", yesNo(strings.Contains(strings.ToLower(c.ID), "fan")))
	for name, n := range map[string]int64{"max_state": c.max, "cur_state": c.cur} {
		if c.Errs[name] == "" {
			c.Set(name, snapshot.Int(n))
		}
	}
	return c.Subject
}
