package preflight

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/fstab"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func fstabChecks() []Check {
	return []Check{
		{Code: "fstab-unstable-name", Title: "fstab names devices by what they are", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "/dev/sda is whichever disk answers first: another kernel may find them in another order.", Run: perLine(unstableName)},
		{Code: "fstab-unresolved", Title: "what fstab names is there", Severity: snapshot.Critical, Class: snapshot.ClassConfig,
			Doc: "A device that does not appear and is not nofail ends the boot in emergency mode after 90 seconds.", Run: perLine(unresolved)},
		{Code: "fstab-no-nofail", Title: "removable and remote mounts do not hold up the boot", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "A USB disk or a server that does not answer must not keep the machine from coming up.", Run: perLine(noNofail)},
		{Code: "fstab-commented", Title: "what is mounted is not commented out", Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Doc: "A file system that is mounted now and commented out of fstab is not there after the reboot.", Run: checkCommented},
	}
}

// fstabLine is a line of fstab(5).
type fstabLine struct{ fstab.Line }

func (l *fstabLine) ref() snapshot.SubjectRef {
	return snapshot.SubjectRef{Kind: "service.mount", ID: l.Point, Label: fmt.Sprintf("%s (fstab line %d)", l.Point, l.Number)}
}

func parseFstab(text string) []fstabLine {
	var out []fstabLine
	for _, l := range fstab.Parse(text) {
		out = append(out, fstabLine{l})
	}
	return out
}

func readFstab(ctx context.Context, root *sysfs.Root) ([]fstabLine, []snapshot.Gap) {
	text, found, err := readText(ctx, root, "/etc/fstab")
	switch {
	case err != nil:
		return nil, []snapshot.Gap{unread(err)}
	case !found:
		return nil, []snapshot.Gap{gap("there is no /etc/fstab")}
	}
	return parseFstab(text), nil
}

// perLine asks a question of each line that a boot mounts.
func perLine(ask func(context.Context, *sysfs.Root, *fstabLine) (*snapshot.Finding, *snapshot.Gap)) func(context.Context, source.Host, Target) ([]snapshot.Finding, []snapshot.Gap) {
	return func(ctx context.Context, h source.Host, _ Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
		lines, gaps := readFstab(ctx, h.Root)
		for _, l := range lines {
			if l.Commented || !l.Auto() {
				continue
			}
			f, g := ask(ctx, h.Root, &l)
			if f != nil {
				f.Subject = l.ref()
				f.Evidence = strings.Join([]string{l.Spec, l.Point, l.Type, strings.Join(l.Options, ",")}, " ")
				fs = append(fs, *f)
			}
			if g != nil {
				gaps = append(gaps, *g)
			}
		}
		return fs, gaps
	}
}

func unstableName(_ context.Context, _ *sysfs.Root, l *fstabLine) (*snapshot.Finding, *snapshot.Gap) {
	if !l.Enumerated() {
		return nil, nil
	}
	return &snapshot.Finding{Message: fmt.Sprintf("%s is mounted from %s, a name that another kernel may give to another disk", l.Point, l.Spec),
		Hint: "name it by UUID, see: blkid " + l.Spec}, nil
}

func unresolved(ctx context.Context, root *sysfs.Root, l *fstabLine) (*snapshot.Finding, *snapshot.Gap) {
	dev := l.Device()
	if dev == "" || isRemote(l) {
		return nil, nil
	}
	dir := "/dev"
	if strings.HasPrefix(dev, "/dev/disk/") {
		dir = path.Dir(dev)
	}
	known, err := root.Exists(ctx, dir)
	if err == nil && !known {
		g := gap(fmt.Sprintf("whether %s of %s is there: no %s on this host", l.Spec, l.Point, dir))
		return nil, &g
	}
	there := false
	if err == nil {
		there, err = root.Exists(ctx, dev)
	}
	if err != nil {
		g := unread(err)
		return nil, &g
	}
	if there {
		return nil, nil
	}
	f := &snapshot.Finding{Message: fmt.Sprintf("%s, which %s is mounted from, does not exist now: the boot would end in emergency mode", l.Spec, l.Point),
		Hint: "correct the line, or add nofail to its options; see: findmnt --verify"}
	if l.Has("nofail") || l.Swap() { // swap.target only wants its devices
		f.Severity = snapshot.Warning
		f.Message = fmt.Sprintf("%s, which %s is mounted from, does not exist now: it will be missing after the reboot", l.Spec, l.Point)
	}
	return f, nil
}

var remoteTypes = []string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.ceph", "afs", "lustre", "beegfs"}

func isRemote(l *fstabLine) bool { return slices.Contains(remoteTypes, l.Type) || l.Has("_netdev") }

// bootCritical reports whether the system itself lies there, so that it cannot go on without.
func bootCritical(point string) bool {
	for _, p := range []string{"/usr", "/var", "/boot", "/efi", "/etc"} {
		if point == p || strings.HasPrefix(point, p+"/") {
			return true
		}
	}
	return point == "/"
}

func noNofail(ctx context.Context, root *sysfs.Root, l *fstabLine) (*snapshot.Finding, *snapshot.Gap) {
	dev := l.Device()
	if bootCritical(l.Point) || l.Has("nofail") || l.Has("x-systemd.automount") || l.Swap() || dev == "" && !isRemote(l) {
		return nil, nil
	}
	where, err := "a remote server", error(nil)
	if !isRemote(l) {
		if where, err = detachable(ctx, root, dev); err != nil {
			g := gap(fmt.Sprintf("whether the device of %s can be taken away: %s", l.Point, err))
			return nil, &g
		}
	}
	if where == "" {
		return nil, nil
	}
	return &snapshot.Finding{Message: fmt.Sprintf("%s is on %s and holds up the boot where that is not there", l.Point, where),
		Hint: "add nofail,x-systemd.device-timeout=10s to its options in /etc/fstab"}, nil
}

// detachable says what makes a device one that may be gone tomorrow: "" is nothing.
func detachable(ctx context.Context, root *sysfs.Root, dev string) (string, error) {
	name := path.Base(dev)
	target, err := root.Target(ctx, dev)
	if err == nil {
		name = path.Base(target)
	}
	sys, err := root.Target(ctx, "/sys/class/block", name)
	if err != nil {
		return "", err
	}
	if strings.Contains(sys, "/usb") {
		return "a USB device (" + name + ")", nil
	}
	part, err := root.Exists(ctx, sys, "partition")
	if err != nil {
		return "", err
	}
	if part {
		sys = path.Dir(sys)
	}
	removable, err := root.Int(ctx, sys, "removable")
	if err != nil {
		return "", err
	}
	if removable == 1 {
		return "a removable device (" + name + ")", nil
	}
	return "", nil
}

func checkCommented(ctx context.Context, h source.Host, _ Target) ([]snapshot.Finding, []snapshot.Gap) {
	lines, gaps := readFstab(ctx, h.Root)
	var out []fstabLine
	for _, l := range lines {
		if l.Commented && !slices.ContainsFunc(lines, func(o fstabLine) bool { return !o.Commented && o.Point == l.Point }) {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, gaps
	}
	mounts, err := readMounts(ctx, h.Root)
	if err != nil {
		return nil, append(gaps, gap("what is mounted: "+err.Error()))
	}
	var fs []snapshot.Finding
	for _, l := range out {
		if !slices.ContainsFunc(mounts, func(m mount) bool { return m.point == l.Point }) {
			continue
		}
		fs = append(fs, snapshot.Finding{Subject: l.ref(), Evidence: l.Spec, Message: fmt.Sprintf("%s is mounted now and commented out of fstab: it will not be there after the reboot", l.Point),
			Hint: fmt.Sprintf("take the comment away from line %d of /etc/fstab, or unmount it first", l.Number)})
	}
	return fs, gaps
}
