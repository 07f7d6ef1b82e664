package hw

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

var _ = catalogue.Add(source.Source{
	Name: "block",
	Doc: `partitions, software RAID and device-mapper volumes

Reads /sys/class/block and, on awake disks, the superblocks: what a partition holds
is told without udev. A disk that sleeps is not woken: for it, and for what could not
be read, udev's database is asked.`,
	Kinds: []snapshot.Kind{partition, mdArray, dmVolume},
	Read:  readBlock,
})

const classBlock = "/sys/class/block"

// stack is how the block devices of a host lie upon each other, by kernel names.
type stack struct {
	ctx  context.Context
	host source.Host
	devs map[string]*device
	errs []error
}

func readBlock(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	_, found, err := readStack(ctx, h)
	return subjectsOf(found), err
}

// readStack reads from the bottom up: what an array is called stands on its members.
// found are the partitions, arrays and volumes; the disks are in the stack.
func readStack(ctx context.Context, h source.Host) (_ *stack, found []*device, _ error) {
	names, err := list(ctx, h, classBlock)
	if err != nil {
		return &stack{}, nil, err
	}
	silent := h
	silent.Log = nil                               // the disks' own source tells of them
	disks, errs, _ := readDisks(ctx, silent, true) // a disk that could not be found may bear partitions
	s := &stack{ctx: ctx, host: h, devs: map[string]*device{}, errs: errs}
	s.enter(disks)
	parts := s.read(names, partitionKind, (*device).readPartition)
	s.probe(parts)
	arrays := s.read(names, mdKind, s.readMD)
	s.probe(arrays)
	s.name(arrays)
	s.probe(parts) // those on arrays
	for _, d := range parts {
		s.finishPartition(d)
	}
	parts = slices.DeleteFunc(parts, func(d *device) bool { return d.Parent == "" }) // of a loop device, and the like
	s.name(parts)
	volumes := s.read(names, dmKind, s.readDM)
	s.probe(volumes)
	s.name(volumes)
	for _, d := range slices.Concat(arrays, volumes) {
		s.finishUpper(d)
	}
	volumes = slices.DeleteFunc(volumes, (*device).hiddenDM)
	return s, slices.Concat(parts, arrays, volumes), errors.Join(s.errs...)
}

func (s *stack) enter(found []*device) {
	for _, d := range found {
		s.devs[d.name] = d
	}
}

// read reads the devices of a kind, told by the names that their kind has.
func (s *stack) read(names []string, kind string, read func(*device) bool) []*device {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return s.devs[n] != nil || !kindOfName(kind, n) })
	found, errs := sideBySide(readers, names, func(name string) (*device, error) {
		d, err := newDevice(s.ctx, s.host, path.Join(classBlock, name), kind)
		if err != nil || d == nil || !read(d) || d.vanished() {
			return nil, err
		}
		return d, nil
	})
	s.errs = append(s.errs, errs...)
	s.enter(found)
	return found
}

// kindOfName sorts out by name what need not be looked at: md and dm devices have
// names of their own, partitions any that ends in their number.
func kindOfName(kind, name string) bool {
	switch kind {
	case mdKind:
		return strings.HasPrefix(name, "md")
	case dmKind:
		return strings.HasPrefix(name, "dm-")
	}
	last := name[len(name)-1]
	return last >= '0' && last <= '9' && !strings.HasPrefix(name, "loop") && !strings.HasPrefix(name, "ram") && !strings.HasPrefix(name, "dm-")
}

// probe reads what devices hold, unless a disk beneath sleeps.
func (s *stack) probe(found []*device) {
	todo := slices.DeleteFunc(slices.Clone(found), func(d *device) bool {
		return d.held.Holds != "" || d.held.why != nil || (d.Kind == partitionKind && s.devs[diskOf(d.dir)] == nil)
	})
	for _, d := range todo {
		d.held.why = s.mayRead(d)
	}
	inParallel(readers, todo, func(d *device) {
		if d.held.why == nil {
			d.probe(&d.held)
		}
		if d.held.why != nil {
			d.fromUdev(&d.held)
		}
	})
}

// mayRead says why a device must not be read, or nil: it waits for somebody (a
// suspended volume, a multipath one without paths), or a disk beneath sleeps.
func (s *stack) mayRead(d *device) error {
	if d.Text("suspended") == "yes" {
		return errors.New("it is suspended: a read would wait")
	}
	if strings.HasPrefix(d.Text("uuid"), "mpath-") {
		return errors.New("a multipath volume without paths keeps a read waiting")
	}
	if state := d.Text("state"); d.Kind == mdKind && state != mdRunning && state != "readonly" {
		return errors.New("the array does not run")
	}
	disks := s.disksUnder(d)
	if len(disks) == 0 {
		return errors.New("which disks lie beneath could not be told")
	}
	for _, disk := range disks {
		if disk.held.power != powerAwake {
			if disk.held.why != nil {
				return disk.held.why
			}
			return errAsleep
		}
	}
	return nil
}

// maxLayers bounds how deep a stack of block devices is followed.
const maxLayers = 16

// disksUnder are the whole disks beneath a device.
func (s *stack) disksUnder(d *device) []*device {
	var out []*device
	s.walk(d, maxLayers, map[string]bool{}, func(x *device) bool {
		if x.Kind == diskKind {
			out = append(out, x)
		}
		return true
	})
	return out
}

// walk visits what lies beneath d, each once; visit says whether to go on below it.
func (s *stack) walk(d *device, depth int, seen map[string]bool, visit func(*device) bool) {
	for _, name := range s.under(d) {
		below := s.devs[name]
		if below == nil || seen[name] || depth == 0 {
			continue
		}
		seen[name] = true
		if visit(below) {
			s.walk(below, depth-1, seen, visit)
		}
	}
}

// under are the kernel names of what a device lies on directly.
func (s *stack) under(d *device) []string {
	switch d.Kind {
	case partitionKind:
		return []string{diskOf(d.dir)}
	case mdKind, dmKind:
		names, err := d.root.List(d.ctx, d.dir, "slaves")
		if err != nil && !sysfs.Absent(err) {
			d.Fail("on", err)
		}
		return names
	}
	return nil
}

// name gives the devices of a kind their IDs.
func (s *stack) name(found []*device) {
	for _, d := range found {
		if d.held.UUID != "" && d.Kind == partitionKind {
			d.also = append(d.also, "fs:"+d.held.UUID)
		}
		d.Set("aliases", snapshot.List(slices.Concat(d.aliases, d.also, []string{d.place})...))
	}
	s.errs = append(s.errs, identify(s.host, found)...)
}

// finishUpper sets what an array or a volume lies on. LVM's hidden layers are
// followed through: they come and go with snapshots.
func (s *stack) finishUpper(d *device) {
	var on []string
	s.walk(d, maxLayers, map[string]bool{}, func(x *device) bool {
		if x.hiddenDM() {
			return true
		}
		on = append(on, x.Key().String())
		return false
	})
	slices.Sort(on)
	on = slices.Compact(on)
	if d.Errs["on"] == "" {
		d.Set("on", snapshot.List(on...))
	}
	if len(on) == 1 {
		d.Parent = on[0]
	}
	d.Set("removable", snapshot.Text(s.removable(d)))
	d.keepContent(&d.held)
}

// removable is yes where a disk beneath can be taken out, or did not say.
func (s *stack) removable(d *device) string {
	disks := s.disksUnder(d)
	if len(disks) == 0 || slices.ContainsFunc(disks, func(x *device) bool { return x.Text("removable") != "no" }) {
		return "yes"
	}
	return "no"
}
