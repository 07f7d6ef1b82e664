package hw

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const nameUseKind = "hw.name_use"

var _ = catalogue.Add(source.Source{
	Name: "consumers",
	Doc: `what names disks and network interfaces by names that may move

Reads the files that say what is mounted, opened, bridged and handed to virtual
machines, and keeps what they name by a name that the kernel or udev hands out in the
order or the place that devices are found in: /dev/sda1, /dev/nvme0n1, /dev/md127,
/dev/dm-0, /dev/disk/by-path/…, eth0, enp3s0. What is named by WWN or /dev/disk/by-id is
left out: that name goes with the device. Of what is mounted or opened by UUID or label
it is told whether anything bears that. Disks are looked at only where one is named.`,
	Kinds: []snapshot.Kind{nameUse, tagUse},
	Read:  readConsumers,
})

// How much hangs on a name.
const (
	needBoot  = "boot"  // the boot waits for it, or what starts with the boot works on it
	needLater = "later" // it is used when somebody asks for it, or may be missing
	needWatch = "watch" // it is only looked at
)

// What a name leads to.
const (
	leadsTo      = "device"
	leadsNowhere = "nothing"
	leadsVirtual = "virtual" // an interface of that name is no hardware
)

const nameHint = "name disks by UUID or by /dev/disk/by-id; pin an interface's name with a .link file that matches its MAC address"

var nameUse = snapshot.Kind{
	Name:      nameUseKind,
	Doc:       "a place in a configuration that names a block device or a network interface by a name that may move, known by what it is in, the name and what for",
	NamesAttr: "base",
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "the name, as it stands there"},
		{Name: "base", Doc: "the name of the whole disk, array or interface that it depends on"},
		{Name: "purpose", Doc: "what it is named for: a mount point, a bridge, a virtual machine's disk …"},
		{Name: "need", Doc: "boot where the boot or what starts with it works on it, later where it may be missing, watch where it is only looked at"},
		{Name: "pinned", Doc: "yes where a .link file gives an interface this name"},
		{Name: "leads_to", Doc: "device, nothing where no device has that name now, or virtual where an interface of that name is no hardware"},
		{Name: "means", Ref: true, Doc: "the device that the name means now"},
		{Name: "device", Noise: snapshot.Evidence, Doc: "the same for people"},
		{Name: "place", Noise: snapshot.Evidence, Doc: "file and line"},
	},
	Rules: append(meansOther(),
		snapshot.Rule{Code: "name-means-nothing", On: snapshot.OnBecomes, Attr: "leads_to", From: []string{leadsTo}, To: []string{leadsNowhere, leadsVirtual}, Where: map[string]string{"need": needBoot}, Topic: "means",
			Severity: snapshot.Critical, Class: snapshot.ClassHardware, Symptom: true, Together: "base", Message: meansNothingText, Hint: nameHint},
		snapshot.Rule{Code: "name-means-nothing", On: snapshot.OnBecomes, Attr: "leads_to", From: []string{leadsTo}, To: []string{leadsNowhere, leadsVirtual}, Topic: "means",
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Symptom: true, Together: "base", Message: meansNothingText, Hint: nameHint},
		snapshot.Rule{Code: "name-use-new", On: snapshot.OnNew, Where: map[string]string{"pinned": "no"}, Severity: snapshot.Info, Class: snapshot.ClassConfig, Together: "base",
			Message: "{attr:place} names {attr:name} for {attr:purpose} since the last good boot: that name may move", Hint: nameHint},
	),
}

const meansNothingText = "{attr:place} names {attr:name} for {attr:purpose}: no device is called so now; it was {was:device}"

// meansOther makes the rules for a name that was handed on. What only looks at
// devices does no harm to the wrong one.
func meansOther() []snapshot.Rule {
	var rules []snapshot.Rule
	for need, severity := range map[string]snapshot.Severity{needBoot: snapshot.Critical, needLater: snapshot.Critical, needWatch: snapshot.Warning} {
		rules = append(rules, snapshot.Rule{Code: "name-means-other", On: snapshot.OnChanged, Attr: "means", Where: map[string]string{"need": need}, Topic: "means",
			Severity: severity, Class: snapshot.ClassHardware, Together: "base",
			Message: "{attr:place} names {attr:name} for {attr:purpose}: that was {was:device}, and is {attr:device} now", Hint: nameHint})
	}
	slices.SortFunc(rules, func(a, b snapshot.Rule) int { return strings.Compare(a.Where["need"], b.Where["need"]) })
	return rules
}

// mention is one place that names a device.
type mention struct {
	file    string
	line    int    // the first is 1; 0 where the file has no lines
	name    string // /dev/sda1, /dev/disk/by-path/…, enp3s0, or pci-0000:03:00.0 for the interface there
	purpose string
	need    string
	now     string // what the interface is called now, where the place itself gives it another name
}

// consumer is a family of places.
type consumer struct {
	name string // in the IDs of its subjects, for ever
	read func(ctx context.Context, root *sysfs.Root) ([]mention, error)
}

func consumers() []consumer {
	return []consumer{
		{"fstab", readFstabUses}, {"crypttab", readCrypttab}, {"cmdline", readCmdlineUses}, {"device-map", readDeviceMap},
		{"mdadm", readMdadmConf}, {"lvm", readLVMConf}, {"zpool", readZpoolCache}, {"pve", readPVE}, {"ceph", readCeph}, {"smartd", readSmartdConf},
		{"systemd", readSystemdUnits}, {"networkd", readNetworkd}, {"netplan", readNetplan}, {"ifupdown", readIfupdown}, {"networkmanager", readNetworkManager}, {"ifcfg", readIfcfg},
	}
}

// maxMentions bounds what is kept of one host.
const maxMentions = 4096

func readConsumers(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	if !h.Root.Live() {
		there, err := h.Root.Exists(ctx, "/etc")
		if err != nil || !there { // a recording of the hardware alone: nobody can say what names it
			return nil, errors.Join(err, skippedUnless(err))
		}
	}
	pinned, err := pinnedNames(ctx, h.Root)
	errs := []error{err}
	var out []snapshot.Subject
	r := newResolver(ctx, h)
	used := map[string]int{}
	for _, c := range consumers() {
		found, err := c.read(ctx, h.Root.OneDevice()) // a file system of a daemon's that hangs costs its own
		errs = append(errs, err)
		for i := range found {
			s, ok := r.tagSubject(c.name, &found[i])
			if !ok {
				s, ok = r.nameSubject(c.name, &found[i], pinned)
			}
			if !ok {
				continue
			}
			if len(out) == maxMentions {
				return out, errors.Join(append(errs, fmt.Errorf("read consumers: more than %d names", maxMentions))...)
			}
			if used[s.ID]++; used[s.ID] > 1 {
				s.ID = fmt.Sprintf("%s#%d", s.ID, used[s.ID])
			}
			out = append(out, s)
		}
	}
	return out, errors.Join(errs...)
}

func skippedUnless(err error) error {
	if err != nil {
		return nil
	}
	return source.ErrSkipped
}

// subject makes a subject of a mention, without what it leads to.
func (m *mention) subject(kind, family string) snapshot.Subject {
	name, purpose, place := clipText(m.name, longestLine), clipText(m.purpose, longestLine), clipText(m.file, longestLine)
	if m.line > 0 {
		place += ":" + strconv.Itoa(m.line)
	}
	s := snapshot.Subject{Kind: kind, ID: joinWords(family + ":" + name + ":" + purpose), Label: place + " (" + purpose + ")", Outcome: snapshot.Measured}
	for attr, value := range map[string]string{"name": name, "purpose": purpose, "need": m.need, "place": place} {
		s.Set(attr, snapshot.Text(value))
	}
	return s
}

// nameSubject makes a subject of a mention of a name; ok is false where that cannot move.
func (r *resolver) nameSubject(family string, m *mention, pinned map[string]bool) (s snapshot.Subject, ok bool) {
	base, ok := baseOf(m.name, pinned)
	if !ok {
		return s, false
	}
	s = m.subject(nameUseKind, family)
	s.Set("base", snapshot.Text(base))
	s.Set("pinned", yesNo(pinned[base]))
	what, err := r.resolve(m)
	if err != nil {
		s.Fail("means", err)
		return s, true
	}
	s.Set("leads_to", snapshot.Text(what.leads))
	if what.leads == leadsTo {
		s.Parent = what.key.String()
		s.Set("means", snapshot.Text(s.Parent))
		s.Set("device", snapshot.Text(what.label+" ["+what.key.ID+"]"))
	}
	return s, true
}

// maxConfig bounds a file of configuration, maxListed how many of a folder are read: a
// host of virtual machines has hundreds.
const (
	maxConfig = 1 << 20
	maxListed = 1024
)

// readConfig reads one file; "" where there is none.
func readConfig(ctx context.Context, root *sysfs.Root, name string) (string, error) {
	b, err := root.Bytes(ctx, maxConfig+1, name)
	if sysfs.Absent(err) {
		return "", nil
	}
	if err == nil && len(b) > maxConfig {
		err = fmt.Errorf("read %s: longer than %d bytes", name, maxConfig)
	}
	if err != nil {
		return "", err
	}
	return string(b), nil
}

// inFiles reads files and what parse finds in each.
func inFiles(ctx context.Context, root *sysfs.Root, parse func(file, text string) []mention, files ...string) ([]mention, error) {
	var out []mention
	var errs []error
	for _, f := range files {
		text, err := readConfig(ctx, root, f)
		errs = append(errs, err)
		for _, m := range parse(f, text) {
			m.file = f
			out = append(out, m)
		}
	}
	return out, errors.Join(errs...)
}

// listed are the files of a folder whose names end so; none where there is no such folder.
func listed(ctx context.Context, root *sysfs.Root, dir, suffix string) ([]string, error) {
	names, err := root.List(ctx, dir)
	if sysfs.Absent(err) {
		return nil, nil
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, suffix) || strings.HasPrefix(n, ".") })
	if len(names) > maxListed {
		names, err = names[:maxListed], fmt.Errorf("list %s: more than %d files", dir, maxListed)
	}
	for i, n := range names {
		names[i] = path.Join(dir, n)
	}
	return names, err
}

// inFolder reads the files of folders whose names end so.
func inFolder(ctx context.Context, root *sysfs.Root, parse func(file, text string) []mention, suffix string, dirs ...string) ([]mention, error) {
	var out []mention
	var errs []error
	for _, dir := range dirs {
		files, err := listed(ctx, root, dir, suffix)
		found, err2 := inFiles(ctx, root, parse, files...)
		out, errs = append(out, found...), append(errs, err, err2)
	}
	return out, errors.Join(errs...)
}

// numbered lines of a text, without what follows a # at a line's beginning.
func eachLine(text string, visit func(n int, line string)) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			visit(n, line)
		}
	}
}
