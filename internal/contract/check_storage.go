package contract

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"lastgood/internal/sysfs"
)

func (m *MountCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	table, err := mountTable(ctx, r.Host.Root)
	if err != nil {
		return answer{}, err
	}
	i := slices.IndexFunc(table, func(t *mountinfo.Info) bool { return t.Mountpoint == path.Clean(m.Path) })
	if i < 0 {
		return unmet("%s is not mounted", m.Path)
	}
	t := table[i]
	uuid := udevOf(ctx, r.Host.Root, mountNode(ctx, r.Host.Root, t))["ID_FS_UUID"]
	mode := either(readOnly(t), "ro", "rw")
	switch {
	case m.FSType != "" && t.FSType != m.FSType && !(m.FSType == "fuse" && strings.HasPrefix(t.FSType, "fuse.")):
		return unmet("%s is mounted as %s, want %s", m.Path, t.FSType, m.FSType)
	case m.Mode != "" && mode != m.Mode:
		return unmet("%s is mounted %s, want %s", m.Path, mode, m.Mode)
	case m.Source != "" && t.Source != m.Source:
		return unmet("%s is mounted from %s, want %s", m.Path, t.Source, m.Source)
	case m.UUID != "" && uuid == "":
		return answer{}, fmt.Errorf("the UUID of what is mounted on %s is not known to udev", m.Path)
	case m.UUID != "" && !strings.EqualFold(uuid, m.UUID):
		return unmet("the file system on %s has the UUID %s, want %s", m.Path, uuid, m.UUID)
	}
	return met(strings.Join(strings.Fields(m.Path+" "+t.FSType+" "+mode+" "+uuid), " "))
}

func (b *BlockCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	found, err := b.nodes(ctx, r.Host.Root)
	if err != nil {
		return answer{}, err
	}
	if want := max(b.AtLeast, 1); len(found) < want {
		return unmet("%d paths match %s, %d at least", len(found), either(b.OSDs, "local OSDs", b.Path), want)
	}
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	var a answer
	var bad []string
	for _, p := range found {
		why, err := b.wrong(ctx, p)
		if err != nil {
			return answer{}, err
		}
		if why != "" {
			bad = append(bad, why)
		} else {
			a.observed = append(a.observed, p)
		}
	}
	a.why = strings.Join(bad, "; ")
	return a, nil
}

// nodes are the paths that are meant.
func (b *BlockCheck) nodes(ctx context.Context, root *sysfs.Root) (out []string, err error) {
	if !b.OSDs {
		return glob(ctx, root, b.Path)
	}
	for _, o := range localOSDs(ctx, root) {
		out = append(out, o.block)
	}
	return out, nil
}

// openHints explain the errno of an open: who answers so.
var openHints = map[string]string{
	"EPERM":  "a device cgroup refuses it",
	"EACCES": "its owner, mode or SELinux label refuses it",
	"ENXIO":  "no driver serves it",
	"ENOENT": "it leads nowhere: its volume did not come up",
}

func (b *BlockCheck) wrong(ctx context.Context, p string) (string, error) {
	if b.Openable == nil || *b.Openable {
		errno, err := within(ctx, openPatience, func() (string, error) { return tryOpen(p) })
		if err != nil {
			return "", err
		}
		if errno != "yes" {
			return strings.TrimSuffix(fmt.Sprintf("%s cannot be opened: %s, %s", p, errno, openHints[errno]), ", "), nil
		}
	}
	if b.Label == "" {
		return "", nil
	}
	facts, err := within(ctx, openPatience, func() (nodeFacts, error) { return statNode(p) })
	if err != nil {
		return "", err
	}
	if facts.label != b.Label {
		return fmt.Sprintf("%s is labelled %q, want %q", p, facts.label, b.Label), nil
	}
	return "", nil
}

func (l *LVMCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	active, suspended, err := logicalVolumes(ctx, r.Host.Root)
	if err != nil {
		return answer{}, err
	}
	var a answer
	var bad []string
	for _, v := range l.Volumes {
		name := mapperName(v)
		if !slices.Contains(active, name) && !slices.Contains(suspended, name) {
			bad = append(bad, v+" is not active")
		}
	}
	for _, name := range suspended {
		if len(l.Volumes) == 0 || slices.ContainsFunc(l.Volumes, func(v string) bool { return mapperName(v) == name }) {
			bad = append(bad, name+" is suspended")
		}
	}
	a.observed, a.why = active, strings.Join(bad, "; ")
	return a, nil
}

// mapperName is the device mapper's name of group/volume: a dash within a name is doubled (lvm(8)).
func mapperName(v string) string {
	group, volume, found := strings.Cut(v, "/")
	if !found {
		return v
	}
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return double(group) + "-" + double(volume)
}

// logicalVolumes lists LVM's volumes by their names in the device mapper.
func logicalVolumes(ctx context.Context, root *sysfs.Root) (active, suspended []string, err error) {
	all, err := root.List(ctx, "/sys/class/block")
	if err != nil {
		return nil, nil, err
	}
	for _, n := range all {
		if !strings.HasPrefix(n, "dm-") {
			continue
		}
		uuid, err := root.Attr(ctx, "/sys/class/block", n, "dm/uuid")
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if !lvmVolume.MatchString(uuid) {
			continue
		}
		name, err := root.Attr(ctx, "/sys/class/block", n, "dm/name")
		if err != nil {
			return nil, nil, err
		}
		stopped, err := root.Attr(ctx, "/sys/class/block", n, "dm/suspended")
		if err != nil {
			return nil, nil, err
		}
		if stopped == "1" {
			suspended = append(suspended, name)
		} else {
			active = append(active, name)
		}
	}
	slices.Sort(active)
	return active, suspended, nil
}

// lvmVolume is a volume that people see: the uuids of group and volume, 32 characters each, without a suffix that names one
// of LVM's hidden layers (lib/activate/dev_manager.c of LVM2).
var lvmVolume = regexp.MustCompile(`^LVM-[a-zA-Z0-9]{64}$`)

func (f *FstabCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	lines, err := fstabLines(ctx, r.Host.Root)
	if err != nil {
		return answer{}, err
	}
	var mounted []*mountinfo.Info
	if f.Mounted {
		if mounted, err = mountTable(ctx, r.Host.Root); err != nil {
			return answer{}, err
		}
	}
	var a answer
	var bad []string
	for _, l := range lines {
		if l.Commented {
			continue
		}
		a.observed = append(a.observed, l.Spec+" "+l.Point)
		if f.StableOnly && l.Enumerated() {
			bad = append(bad, fmt.Sprintf("line %d names %s by the order in which disks are found", l.Number, l.Spec))
		}
		if dev := l.Device(); f.Resolvable && dev != "" {
			there, err := r.Host.Root.Exists(ctx, dev)
			if err != nil {
				return answer{}, err
			}
			if !there {
				bad = append(bad, fmt.Sprintf("%s of line %d is not there", l.Spec, l.Number))
			}
		}
		up := slices.ContainsFunc(mounted, func(m *mountinfo.Info) bool { return m.Mountpoint == path.Clean(l.Point) })
		if f.Mounted && l.Auto() && strings.HasPrefix(l.Point, "/") && !up {
			bad = append(bad, l.Point+" is not mounted")
		}
	}
	a.why = strings.Join(bad, "; ")
	return a, nil
}

func (f *FileCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	there, err := r.Host.Root.Exists(ctx, f.Path)
	if err != nil {
		return answer{}, err
	}
	if want := f.Exists == nil || *f.Exists; there != want {
		return unmet("%s is %s", f.Path, either(there, "there", "not there"))
	}
	if f.Regexp == "" || !there {
		return met(f.Path)
	}
	b, err := r.Host.Root.Bytes(ctx, maxFile, f.Path)
	if err != nil {
		return answer{}, err
	}
	if !regexp.MustCompile(f.Regexp).Match(b) { // it was compiled when it was read
		return unmet("%s does not match %s", f.Path, f.Regexp)
	}
	return met(f.Path)
}

func (c *CountCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	found, err := glob(ctx, r.Host.Root, c.Glob)
	if err != nil {
		return answer{}, err
	}
	a := answer{observed: found}
	switch n := len(found); {
	case c.AtLeast != nil && n < *c.AtLeast:
		a.why = fmt.Sprintf("%d paths match %s, %d at least", n, c.Glob, *c.AtLeast)
	case c.AtMost != nil && n > *c.AtMost:
		a.why = fmt.Sprintf("%d paths match %s, %d at most", n, c.Glob, *c.AtMost)
	}
	return a, nil
}
