package contract

import (
	"bytes"
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const blockKind = "service.block"

var _ = catalogue.Add(source.Source{
	Name: "block_nodes",
	Doc: `whether the block devices in use can be opened, and how SELinux labels them

Opens, for reading and without waiting, each device node that a mount, swap or a Ceph OSD lies on, and closes it again.
EPERM is the device cgroup's answer (a BPF program on cgroup v2), EACCES a label's or an owner's: they are said apart.`,
	Kinds: []snapshot.Kind{blockDeclared},
	Tier:  source.Native,
	Read:  readBlockNodes,
})

const blockHint = "EPERM: a device cgroup refuses it (systemd's DeviceAllow=, a BPF program on cgroup v2); EACCES: owner or SELinux label (ls -lZ, ausearch -m avc); ENXIO or ENOENT: the device is gone"

var blockDeclared = snapshot.Kind{
	Name:        blockKind,
	Doc:         "the node of a block device that a mount, swap or a Ceph OSD lies on, known by what udev or the device mapper knows it by.",
	AliasAttr:   "aliases",
	WeakAliases: []string{"name", "path"},
	Attrs: []snapshot.Attr{
		{Name: "opens", Doc: "yes, or the errno that opening it answered: EPERM, EACCES, ENXIO, ENOENT …"},
		{Name: "label", Doc: "SELinux label of the node; only where SELinux is on"},
		{Name: "owner", Doc: "user and group by number"},
		{Name: "mode", Doc: "permission bits, octal"},
		{Name: "type", Doc: "disk, partition, md, dm-lvm, dm-crypt …"},
		{Name: "node", Noise: snapshot.Evidence, Doc: "its path today"},
		{Name: "number", Noise: snapshot.Evidence, Doc: "its major:minor today"},
		{Name: "used_by", Noise: snapshot.Evidence, Doc: "mount points, swap or OSDs that lie on it"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	},
	Rules: []snapshot.Rule{
		{Code: "block-not-openable", On: snapshot.OnBecomes, Attr: "opens", From: []string{"yes"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "{attr:node} ({name}) cannot be opened: {new}; it could at the last good boot. It holds {attr:used_by}", Hint: blockHint},
		{Code: "block-errno-changed", On: snapshot.OnChanged, Attr: "opens", Severity: snapshot.Info, Class: snapshot.ClassService, Message: "opening {attr:node} answers {new}, answered {old}"},
		{Code: "block-label-changed", On: snapshot.OnChanged, Attr: "label", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "{attr:node} ({name}) is labelled {new}, was {old}", Hint: "matchpathcon {attr:node}; restorecon -v {attr:node}"},
		{Code: "block-owner-changed", On: snapshot.OnChanged, Attr: "owner", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "{attr:node} ({name}) belongs to {new}, belonged to {old}", Hint: "a udev rule sets it: udevadm info {attr:node}"},
	},
}

// blockUse is a block device and what lies on it.
type blockUse struct {
	name  string // of the kernel's
	paths []string
	users []string
}

// openPatience bounds one open: the driver of a sick device may never answer.
const openPatience = 300 * time.Millisecond

func readBlockNodes(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	uses, err := blocksInUse(ctx, h.Root)
	if err != nil {
		return nil, unread(h, err)
	}
	// Paths of one multipath device bear one wwid: none of them is known by it.
	known, claims := make([][]string, len(uses)), map[string]int{}
	for i := range uses {
		known[i] = blockAliases(ctx, h.Root, &uses[i])
		for _, a := range known[i] {
			claims[a]++
		}
	}
	var out []snapshot.Subject
	for i, u := range uses {
		s := snapshot.Subject{Kind: blockKind, Outcome: snapshot.Measured}
		aliases := slices.DeleteFunc(known[i], func(a string) bool { return claims[a] > 1 })
		s.ID, s.Label = aliases[0], u.name // the last is the name, which is nobody else's
		s.Set("aliases", snapshot.List(aliases...))
		s.Set("used_by", snapshot.List(u.users...))
		node := "/dev/" + u.name
		if u.name == "" {
			node = u.paths[0]
		} else {
			s.Set("type", snapshot.Text(blockType(ctx, h.Root, u.name)))
		}
		s.Set("node", snapshot.Text(node))
		if h.Root.Live() {
			openNode(ctx, &s, node)
		} else {
			s.Fail("opens", errNotLive)
		}
		out = append(out, s)
	}
	return out, nil
}

// blocksInUse lists the devices beneath mounts, swap and OSDs.
func blocksInUse(ctx context.Context, root *sysfs.Root) ([]blockUse, error) {
	var all []blockUse
	add := func(name, dev, user string) {
		i := slices.IndexFunc(all, func(b blockUse) bool { return b.name == name && (name != "" || b.paths[0] == dev) })
		if i < 0 {
			i, all = len(all), append(all, blockUse{name: name})
		}
		all[i].paths = append(all[i].paths, dev)
		if !slices.Contains(all[i].users, user) {
			all[i].users = append(all[i].users, user)
		}
	}
	addStack := func(node, user string) error {
		names, err := blockStack(ctx, root, node, 0)
		for _, n := range names {
			if !passingBlock(n) {
				add(n, "/dev/"+n, user)
			}
		}
		return err
	}
	table, err := mountTable(ctx, root)
	if err != nil {
		return nil, err
	}
	o, err := readOrigin(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, m := range table {
		if node := mountNode(ctx, root, m); node != "" && keptMount(m, o.by(m.Mountpoint)) {
			err = errors.Join(err, addStack(node, m.Mountpoint))
		}
	}
	for _, sw := range swaps(ctx, root) {
		if node := nodeName(ctx, root, sw.name); node != "" {
			err = errors.Join(err, addStack(node, "swap"))
		}
	}
	for _, osd := range localOSDs(ctx, root) {
		if node := nodeName(ctx, root, osd.block); node != "" {
			err = errors.Join(err, addStack(node, "osd."+osd.id))
		} else {
			add("", osd.block, "osd."+osd.id) // a link that leads nowhere: its volume did not come up
		}
	}
	return all, err
}

// osd is a Ceph OSD that keeps its data on this host.
type osd struct{ id, block string }

// localOSDs finds them in the folders of ceph-osd and of cephadm.
func localOSDs(ctx context.Context, root *sysfs.Root) []osd {
	var out []osd
	add := func(dir, prefix string) {
		names, _ := listDir(ctx, root, dir) // a folder that is no OSD's holds none
		for _, n := range names {
			if id, ok := strings.CutPrefix(n, prefix); ok && isNumber(id) {
				out = append(out, osd{id, path.Join(dir, n, "block")})
			}
		}
	}
	add("/var/lib/ceph/osd", "ceph-")
	clusters, _ := listDir(ctx, root, "/var/lib/ceph")
	for _, c := range clusters {
		if len(c) == 36 { // cephadm's folder is named by the cluster's UUID
			add(path.Join("/var/lib/ceph", c), "osd.")
		}
	}
	return slices.DeleteFunc(out, func(o osd) bool {
		there, err := root.Exists(ctx, o.block)
		return err == nil && !there
	})
}

func isNumber(s string) bool {
	return s != "" && len(s) < 10 && strings.Trim(s, "0123456789") == ""
}

// blockAliases are what a device can be known by, strongest first.
func blockAliases(ctx context.Context, root *sysfs.Root, u *blockUse) []string {
	if u.name == "" {
		return []string{"path:" + u.paths[0]}
	}
	var out []string
	add := func(scheme, v string) {
		if v = strings.Join(strings.Fields(v), "_"); v != "" {
			out = append(out, scheme+":"+v)
		}
	}
	attr := func(name string) string {
		v, err := root.Attr(ctx, "/sys/class/block", u.name, name)
		if err != nil {
			return ""
		}
		return v
	}
	facts := udevOf(ctx, root, u.name)
	add("dm", attr("dm/uuid"))
	add("md", attr("md/uuid"))
	add("partuuid", facts["ID_PART_ENTRY_UUID"])
	if attr("partition") == "" {
		add("wwid", attr("wwid"))
		add("wwid", attr("device/wwid"))
		add("serial", facts["ID_SERIAL"])
		add("serial", attr("serial"))
	}
	add("fs", facts["ID_FS_UUID"])
	add("name", u.name)
	return slices.Compact(out)
}

// openNode opens a device for reading, without waiting and without its becoming the controlling terminal, and closes it.
// A close after a read-only open makes udev look at nothing.
func openNode(ctx context.Context, s *snapshot.Subject, node string) {
	errno, err := within(ctx, openPatience, func() (string, error) { return tryOpen(node) })
	if err != nil {
		s.Fail("opens", err)
		return
	}
	s.Set("opens", snapshot.Text(errno))
	facts, err := within(ctx, openPatience, func() (nodeFacts, error) { return statNode(node) })
	if err != nil {
		s.Fail("owner", err)
		return
	}
	s.Set("owner", snapshot.Text(facts.owner))
	s.Set("mode", snapshot.Text(facts.mode))
	s.Set("number", snapshot.Text(facts.number))
	if facts.label != "" {
		s.Set("label", snapshot.Text(facts.label))
	}
}

// tryOpen is "yes" or the errno's name.
func tryOpen(node string) (string, error) {
	fd, err := unix.Open(node, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(node, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	}
	if err == nil {
		return "yes", unix.Close(fd)
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno), nil
	}
	return "", err
}

type nodeFacts struct{ owner, mode, number, label string }

func statNode(node string) (nodeFacts, error) {
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		return nodeFacts{}, err
	}
	f := nodeFacts{owner: itoa(st.Uid) + ":" + itoa(st.Gid), mode: octal(st.Mode & 0o7777), number: itoa(unix.Major(st.Rdev)) + ":" + itoa(unix.Minor(st.Rdev))}
	buf := make([]byte, 4096)
	if n, err := unix.Getxattr(node, "security.selinux", buf); err == nil && n > 0 {
		f.label = string(bytes.TrimRight(buf[:n], "\x00"))
	}
	return f, nil
}
