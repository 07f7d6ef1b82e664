// Package hw takes stock of the hardware: disks, network interfaces, PCI and USB
// devices, sensors, the machine itself. One file is one reader.
//
// What a folder of sysfs lists is there; a folder that could not be listed says
// nothing. Each device bears with any attribute of its own that cannot be read.
// Attributes are read by name, never by a walk.
package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

var catalogue source.Catalogue

// Sources are all readers, sorted by name.
func Sources() []source.Source { return catalogue.All() }

// device is one device while it is being read.
type device struct {
	snapshot.Subject
	ctx  context.Context
	root *sysfs.Root
	name string // what the kernel calls it today
	dir  string // its folder under /sys/devices
	// aliases are what it can be known by across boots, strongest first; place is
	// the last resort.
	aliases  []string
	place    string
	unplaced error // why place could not be told
	unsure   error // why an alias that it may have could not be read
	// also are aliases that it is not known by in a snapshot, for they come and go,
	// but may be found again by in the next.
	also []string
	held holding // of block devices: what they hold
}

// scan reads every device that folder links to. read fills in one device and
// reports whether it is one of the kind. A folder that is absent holds nothing;
// one that cannot be listed, or a device whose identity cannot be told, is an
// error: what was read is returned with it.
func scan(ctx context.Context, h source.Host, folder, kind string, read func(*device) bool) ([]snapshot.Subject, error) {
	found, errs := devices(ctx, h, folder, kind, 1, read)
	errs = append(errs, identify(h, found)...)
	return subjectsOf(found), errors.Join(errs...)
}

// devices reads every device that folder links to and read takes, so many at once.
func devices(ctx context.Context, h source.Host, folder, kind string, atOnce int, read func(*device) bool) ([]*device, []error) {
	names, err := list(ctx, h, folder)
	if err != nil {
		return nil, []error{err}
	}
	return sideBySide(atOnce, names, func(name string) (*device, error) {
		d, err := newDevice(ctx, h, path.Join(folder, name), kind)
		if err != nil || d == nil || !read(d) || d.vanished() {
			return nil, err
		}
		return d, nil
	})
}

// sideBySide reads devices, so many at once, for a machine may have hundreds, each of
// which takes its time to answer, and gives them in order of their names; read gives nil for
// what is none of the kind.
func sideBySide(atOnce int, names []string, read func(name string) (*device, error)) ([]*device, []error) {
	found, errs := make([]*device, len(names)), make([]error, len(names))
	places := make([]int, len(names))
	for i := range places {
		places[i] = i
	}
	inParallel(atOnce, places, func(i int) { found[i], errs[i] = read(names[i]) })
	return slices.DeleteFunc(found, func(d *device) bool { return d == nil }), slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func subjectsOf(found []*device) []snapshot.Subject {
	var out []snapshot.Subject
	for _, d := range found {
		out = append(out, d.Subject)
	}
	return out
}

// list names what a folder of classes or buses holds: nothing where it is absent, for
// a kernel without such hardware has none. Where there is no sysfs at all (a
// container, a chroot, a recording of /proc alone), an absent folder says nothing.
func list(ctx context.Context, h source.Host, folder string) ([]string, error) {
	names, err := h.Root.List(ctx, folder)
	if !sysfs.Absent(err) {
		return names, err
	}
	const always = "/sys/devices" // made before the first device, on every kernel
	there, err := h.Root.Exists(ctx, always)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("list %s: there is no %s: sysfs is not mounted, or was not recorded", folder, always)
	}
	return nil, nil
}

// newDevice follows a link of a class or bus folder; nil where it is no link
// (class/net/bonding_masters is a file) or is gone by now.
func newDevice(ctx context.Context, h source.Host, link, kind string) (*device, error) {
	dir, err := h.Root.Target(ctx, link)
	if sysfs.Absent(err) || errors.Is(err, unix.EINVAL) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d := &device{ctx: ctx, root: h.Root.OneDevice(), name: path.Base(link), dir: dir}
	d.Kind, d.Outcome = kind, snapshot.Measured
	return d, nil
}

// vanished reports whether the device went away while it was read: what could
// not be found on it then says nothing.
func (d *device) vanished() bool {
	there, err := d.root.Exists(d.ctx, d.dir)
	return err == nil && !there
}

// attr reads one attribute by its path in the device's folder. It gives "" where
// the device has no such attribute, and keeps any other error under name.
func (d *device) attr(name string, elem ...string) string {
	s, err := d.root.Attr(d.ctx, append([]string{d.dir}, elem...)...)
	if err != nil && !sysfs.Absent(err) {
		d.Fail(name, err)
	}
	if err != nil {
		return ""
	}
	return clipText(strings.Join(strings.Fields(s), " "), longestLine)
}

// keep reads one attribute and sets it as text, unless it is absent or blank.
func (d *device) keep(name string, elem ...string) string {
	s := d.attr(name, elem...)
	if s != "" {
		d.Set(name, snapshot.Text(s))
	}
	return s
}

// number reads one whole number, multiplies it and sets it.
func (d *device) number(name string, times int64, elem ...string) {
	n, err := d.root.Int(d.ctx, append([]string{d.dir}, elem...)...)
	switch {
	case err == nil:
		d.Set(name, snapshot.Int(n*times))
	case !sysfs.Absent(err):
		d.Fail(name, err)
	}
}

// flag reads an attribute of the kernel's that is 0 or 1 and sets it to no or yes.
func (d *device) flag(name string, elem ...string) {
	switch s := d.attr(name, elem...); s {
	case "":
	case "0":
		d.Set(name, snapshot.Text("no"))
	case "1":
		d.Set(name, snapshot.Text("yes"))
	default:
		d.Fail(name, fmt.Errorf("read %s: %q is neither 0 nor 1", path.Join(elem...), s))
	}
}

// alias adds something that the device is known by, weaker than what was added before.
func (d *device) alias(kind, value string) {
	if value != "" {
		d.aliases = append(d.aliases, kind+":"+value)
	}
}

// doubt notes that an alias could not be read although the device may have one.
// A device that is known by another name than at the last boot would look lost. It
// does not matter where a stronger alias was read before.
func (d *device) doubt(err error) {
	if len(d.aliases) == 0 {
		d.unsure = errors.Join(d.unsure, err)
	}
}

// identify gives each device the strongest alias that no other shares. Two disks
// behind some bridges bear one serial number; neither is known by it. It returns why
// a device's identity could not be told.
func identify(h source.Host, found []*device) (errs []error) {
	claims := map[string]int{}
	for _, d := range found {
		d.doubt(d.unplaced)
		if d.unsure != nil {
			d.Outcome, d.Reason = snapshot.Inconclusive, "which one it is could not be told: "+d.unsure.Error()
			errs = append(errs, fmt.Errorf("identify %s: %w", d.name, d.unsure))
		}
		for _, a := range d.aliases {
			claims[a]++
		}
		claims[d.place]++
	}
	used := map[string]int{}
	for _, d := range found {
		d.ID = d.place
		if i := slices.IndexFunc(d.aliases, func(a string) bool { return claims[a] == 1 }); i >= 0 {
			d.ID = d.aliases[i]
		}
		// Twins at one place that nothing tells apart are told by their order.
		if used[d.ID]++; used[d.ID] > 1 {
			d.ID = fmt.Sprintf("%s#%d", d.ID, used[d.ID])
		}
		if len(d.aliases) > 0 && d.ID != d.aliases[0] {
			logOf(h).Info("two devices bear one identifier, neither is known by it", "device", d.name, "identifier", d.aliases[0], "known_as", d.ID)
		}
	}
	return errs
}
