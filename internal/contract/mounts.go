package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const (
	mountKind      = "service.mount"
	filesystemKind = "service.filesystem"
)

var _ = catalogue.Add(source.Source{
	Name: "mounts",
	Doc: `what is mounted, from what, and file systems that are there and not mounted

Reads /proc/1/mountinfo, /etc/fstab, /sys and udev's database. Left out is what containers, sessions and the kernel itself
mount: overlay, tmpfs that fstab does not name, pseudo file systems, /run/user, namespaces.`,
	Kinds: []snapshot.Kind{mountDeclared, filesystemDeclared},
	Tier:  source.Native,
	Read:  readMounts,
})

var mountDeclared = snapshot.Kind{
	Name:     mountKind,
	Doc:      "a mount of the host's own, known by its mount point.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "fstype", Doc: "type of the file system"},
		{Name: "uuid", Doc: "UUID of the file system; only where it lies on a device and udev knows it"},
		{Name: "source", Noise: snapshot.Evidence, Doc: "what is mounted, as the kernel names it today"},
		{Name: "remote", Doc: "server and path of a network file system"},
		{Name: "mode", Order: []string{"rw", "ro"}, Doc: "rw, or ro where the mount or the file system is read-only"},
		{Name: "by", Doc: "fstab where a line of it names the mount point, unit for a well-known service's and for an enabled mount unit, demand where an automount has it mounted when it is looked at, else hand"},
		{Name: "stack", Doc: "what the device lies on, outermost first, by type: partition, dm-lvm, dm-crypt, md, disk"},
		{Name: "devices", Noise: snapshot.Evidence, Doc: "the same by name"},
	},
	Rules: []snapshot.Rule{
		{Code: "mount-missing", On: snapshot.OnMissing, Where: map[string]string{"by": "fstab"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Symptom: true,
			Message: "{name} is not mounted, was ({attr:fstype})", Hint: "systemctl status $(systemd-escape -p --suffix=mount {name}); mount {name}; look at its line in /etc/fstab"},
		{Code: "mount-missing", On: snapshot.OnMissing, Where: map[string]string{"by": "unit"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Symptom: true,
			Message: "{name} is not mounted, was ({attr:fstype})", Hint: "the service that mounts it did not come up"},
		{Code: "mount-missing", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassService, Symptom: true,
			Message: "{name} is not mounted, was ({attr:fstype}); nothing mounts it at a boot by itself"},
		{Code: "mount-read-only", On: snapshot.OnBecomes, Attr: "mode", From: []string{"rw"}, To: []string{"ro"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "{name} is read-only now", Hint: "an error of the file system or disk makes it so: journalctl -k -b | grep -i -e error -e remount"},
		{Code: "mount-other-filesystem", On: snapshot.OnChanged, Attr: "uuid", Severity: snapshot.Critical, Class: snapshot.ClassConfig,
			Message: "another file system is mounted on {name}: UUID {new}, was {old}", Hint: "did a disk come up under another's name? Name it by UUID in /etc/fstab"},
		{Code: "mount-other-type", On: snapshot.OnChanged, Attr: "fstype", Severity: snapshot.Warning, Class: snapshot.ClassConfig, Message: "{name} is {new}, was {old}"},
		{Code: "mount-other-server", On: snapshot.OnChanged, Attr: "remote", Severity: snapshot.Warning, Class: snapshot.ClassConfig, Message: "{name} is mounted from {new}, was {old}"},
		{Code: "mount-stack-changed", On: snapshot.OnChanged, Attr: "stack", Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "{name} lies on {new}, lay on {old}"},
		{Code: "mount-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassService, Message: "{name} is mounted, was not ({attr:fstype})"},
	},
}

var filesystemDeclared = snapshot.Kind{
	Name: filesystemKind,
	Doc:  "a file system that is on a block device of this host, mounted or not, known by its UUID. Read from udev's database.",
	Attrs: []snapshot.Attr{
		{Name: "mounted", Doc: "boot where fstab or a unit mounts it, hand where somebody or an automount did, no where it is not mounted"},
		{Name: "point", Noise: snapshot.Evidence, Doc: "where it is mounted"},
		{Name: "label", Doc: "its label"},
		{Name: "fstype", Doc: "its type"},
		{Name: "node", Noise: snapshot.Evidence, Doc: "its device today"},
	},
	Rules: []snapshot.Rule{
		{Code: "filesystem-not-mounted", On: snapshot.OnBecomes, Attr: "mounted", From: []string{"boot"}, To: []string{"no"}, Severity: snapshot.Critical, Class: snapshot.ClassService, Cause: true,
			Message: "file system {name} was mounted at the last good boot; it is there ({attr:node}) and not mounted", Hint: "is its line in /etc/fstab commented out or changed? mount UUID={name}"},
		{Code: "filesystem-not-mounted", On: snapshot.OnBecomes, Attr: "mounted", From: []string{"hand"}, To: []string{"no"}, Severity: snapshot.Info, Class: snapshot.ClassService,
			Message: "file system {name} was mounted, and not by the boot; it is there ({attr:node}) and not mounted"},
	},
}

// passingPoints are where containers, sessions and desktops mount what comes and goes.
var passingPoints = []string{"/run", "/proc", "/sys", "/dev", "/tmp", "/media", "/snap", "/var/snap", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet/pods",
	"/var/lib/kubelet/plugins", "/var/lib/rancher", "/var/lib/k0s", "/var/lib/lxd", "/var/lib/incus", "/var/lib/machines", "/var/lib/nfs/rpc_pipefs", "/var/lib/portables", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"}

// noFilesystem are types that hold nothing on a disk or server of the host's. tmpfs counts where fstab or a service says so.
var noFilesystem = []string{"overlay", "aufs", "squashfs", "nsfs", "autofs", "proc", "sysfs", "cgroup", "cgroup2", "devtmpfs", "devpts", "mqueue", "debugfs", "tracefs", "securityfs", "pstore", "bpf", "fusectl",
	"configfs", "hugetlbfs", "binfmt_misc", "efivarfs", "rpc_pipefs", "ramfs", "rootfs", "selinuxfs", "fuse.gvfsd-fuse", "fuse.portal", "fuse.snapfuse", "nfsd", "erofs"}

// parseMounts reads a mountinfo (Documentation/filesystems/proc.rst, 3.5). Of several mounts on one point the last stands.
func parseMounts(text string) ([]*mountinfo.Info, error) {
	all, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
	if err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	var out []*mountinfo.Info
	for i, m := range all {
		if !slices.ContainsFunc(all[i+1:], func(o *mountinfo.Info) bool { return o.Mountpoint == m.Mountpoint }) {
			out = append(out, m)
		}
	}
	return out, nil
}

// errNoMounts says that the kernel's table is not there: on a recording nobody looked.
var errNoMounts = errors.New("read /proc/self/mountinfo: not there")

// unread is why a source could not read the mounts.
func unread(h source.Host, err error) error {
	if errors.Is(err, errNoMounts) {
		return errNoTable(h, "/proc/self/mountinfo")
	}
	return err
}

// mountTable is what init sees: this process may have been given a namespace of its own.
func mountTable(ctx context.Context, root *sysfs.Root) ([]*mountinfo.Info, error) {
	text, err := mountText(ctx, root)
	if err != nil {
		return nil, err
	}
	return parseMounts(text)
}

func mountText(ctx context.Context, root *sysfs.Root) (string, error) {
	for _, name := range []string{"/proc/1/mountinfo", "/proc/self/mountinfo"} {
		text, found, err := readText(ctx, root, maxTable, name)
		if err != nil && name != "/proc/1/mountinfo" { // other users may not read init's
			return "", err
		}
		if found && text != "" {
			return text, nil
		}
	}
	return "", errNoMounts
}

// beneath reports whether a path is dir or lies in it.
func beneath(name, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// keptMount reports whether a mount is the host's own and lasts.
func keptMount(m *mountinfo.Info, by string) bool {
	switch {
	case by == "fstab" && m.Mountpoint != "/":
		return !slices.Contains(noFilesystem, m.FSType)
	case m.Mountpoint == "/":
		return true
	case slices.Contains(noFilesystem, m.FSType) || m.FSType == "tmpfs" && by != "unit":
		return false
	}
	return !slices.ContainsFunc(passingPoints, func(p string) bool { return beneath(m.Mountpoint, p) })
}

// readOnly looks at the options of the mount and of the file system.
func readOnly(m *mountinfo.Info) bool {
	return slices.Contains(strings.Split(m.Options, ","), "ro") || slices.Contains(strings.Split(m.VFSOptions, ","), "ro")
}

func readMounts(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	table, err := mountTable(ctx, h.Root)
	if err != nil {
		return nil, unread(h, err)
	}
	o, errFstab := readOrigin(ctx, h.Root)
	var out []snapshot.Subject
	points := map[string]string{} // UUID → where it is mounted
	for _, m := range table {
		by := o.by(m.Mountpoint)
		s := snapshot.Subject{Kind: mountKind, ID: m.Mountpoint, Outcome: snapshot.Measured}
		node := mountNode(ctx, h.Root, m)
		id := udevOf(ctx, h.Root, node)
		if uuid := id["ID_FS_UUID"]; uuid != "" {
			s.Set("uuid", snapshot.Text(uuid))
			s.Parent = filesystemKind + "/" + uuid
			if old, seen := points[uuid]; !seen || !o.atBoot(old) {
				points[uuid] = m.Mountpoint
			}
		}
		if keptMount(m, by) {
			fillMount(ctx, h.Root, &s, m, by, node)
			out = append(out, s)
		}
	}
	found, errFound := filesystems(ctx, h.Root, points, &o)
	return append(out, found...), errors.Join(errFstab, errFound)
}

func fillMount(ctx context.Context, root *sysfs.Root, s *snapshot.Subject, m *mountinfo.Info, by, node string) {
	s.Set("fstype", snapshot.Text(m.FSType))
	s.Set("source", snapshot.Text(m.Source))
	s.Set("by", snapshot.Text(by))
	mode := "rw"
	if readOnly(m) {
		mode = "ro"
	}
	s.Set("mode", snapshot.Text(mode))
	if node == "" {
		if strings.Contains(m.Source, ":/") || strings.HasPrefix(m.Source, "//") {
			s.Set("remote", snapshot.Text(m.Source))
		}
		return
	}
	names, err := blockStack(ctx, root, node, 0)
	if err != nil {
		s.Fail("stack", err)
		return
	}
	var types []string
	for _, n := range names {
		types = append(types, blockType(ctx, root, n))
	}
	s.Set("stack", snapshot.Text(strings.Join(slices.Compact(types), " on ")))
	s.Set("devices", snapshot.Text(strings.Join(names, " ")))
}

// filesystems lists every file system that udev found on a block device.
func filesystems(ctx context.Context, root *sysfs.Root, points map[string]string, o *origin) ([]snapshot.Subject, error) {
	names, err := listDir(ctx, root, "/sys/class/block")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var out []snapshot.Subject
	for _, name := range names {
		if passingBlock(name) {
			continue
		}
		facts := udevOf(ctx, root, name)
		uuid := facts["ID_FS_UUID"]
		if uuid == "" || facts["ID_FS_USAGE"] != "filesystem" || seen[uuid] {
			continue
		}
		seen[uuid] = true
		s := snapshot.Subject{Kind: filesystemKind, ID: uuid, Label: facts["ID_FS_LABEL"], Outcome: snapshot.Measured}
		mounted := "no"
		if point, is := points[uuid]; is {
			mounted = "boot"
			if !o.atBoot(point) {
				mounted = "hand"
			}
			s.Set("point", snapshot.Text(point))
		}
		s.Set("mounted", snapshot.Text(mounted))
		s.Set("label", snapshot.Text(facts["ID_FS_LABEL"]))
		s.Set("fstype", snapshot.Text(facts["ID_FS_TYPE"]))
		s.Set("node", snapshot.Text("/dev/"+name))
		out = append(out, s)
	}
	return out, nil
}
