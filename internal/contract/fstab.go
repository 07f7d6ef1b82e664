package contract

import (
	"context"
	"path"

	"lastgood/internal/fstab"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const fstabKind = "service.fstab"

var _ = catalogue.Add(source.Source{
	Name:  "fstab",
	Doc:   "what /etc/fstab says is to be mounted, and the lines of it that are commented out",
	Kinds: []snapshot.Kind{fstabDeclared},
	Tier:  source.Native,
	Read:  readFstab,
})

var fstabDeclared = snapshot.Kind{
	Name: fstabKind,
	Doc:  "a line of /etc/fstab, known by its mount point, swap by its device.",
	Attrs: []snapshot.Attr{
		{Name: "state", Order: []string{"active", "commented"}, Doc: "active, or commented out"},
		{Name: "spec", Doc: "the device or server that it names"},
		{Name: "named", Doc: "stable where that is a UUID, label, volume or server; enumerated where it follows the order in which disks are found (/dev/sda1)"},
		{Name: "fstype", Doc: "type of the file system"},
		{Name: "options", Doc: "mount options"},
		{Name: "auto", Doc: "no where a boot does not mount it"},
		{Name: "resolves", Doc: "yes where the device is there now"},
	},
	Rules: []snapshot.Rule{
		{Code: "fstab-commented-out", On: snapshot.OnBecomes, Attr: "state", From: []string{"active"}, To: []string{"commented"}, Severity: snapshot.Warning, Class: snapshot.ClassConfig,
			Message: "the line of {name} in /etc/fstab is commented out now, was active at the last good boot", Hint: "was it taken out for a repair and forgotten? See the line: {attr:spec} {name}"},
		{Code: "fstab-line-gone", On: snapshot.OnMissing, Where: map[string]string{"state": "active"}, Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "the line of {name} is gone from /etc/fstab"},
		{Code: "fstab-device-changed", On: snapshot.OnChanged, Attr: "spec", Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "/etc/fstab mounts {new} on {name}, was {old}"},
		{Code: "fstab-device-gone", On: snapshot.OnBecomes, Attr: "resolves", From: []string{"yes"}, To: []string{"no"}, Where: map[string]string{"state": "active", "auto": "yes"}, Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{attr:spec}, which /etc/fstab mounts on {name}, is not there now", Hint: "did the disk come up, or under another name? See lsblk -f"},
	},
}

// fstabLines reads /etc/fstab; a host without one mounts nothing by it.
func fstabLines(ctx context.Context, root *sysfs.Root) ([]fstab.Line, error) {
	text, _, err := readText(ctx, root, maxFile, "/etc/fstab")
	return fstab.Parse(text), err
}

func readFstab(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	lines, err := fstabLines(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	byID := map[string]snapshot.Subject{}
	for _, l := range lines {
		s := fstabSubject(ctx, h.Root, &l)
		// A line that was kept beside the one it replaced says nothing.
		if old, twice := byID[s.ID]; twice && (l.Commented || old.Text("state") == "active") {
			continue
		}
		byID[s.ID] = s
	}
	var out []snapshot.Subject
	for _, s := range byID {
		out = append(out, s)
	}
	return out, nil
}

func fstabSubject(ctx context.Context, root *sysfs.Root, l *fstab.Line) snapshot.Subject {
	s := snapshot.Subject{Kind: fstabKind, ID: l.Point, Outcome: snapshot.Measured}
	if l.Swap() {
		s.ID = "swap:" + l.Spec
	}
	state, named := "active", "stable"
	if l.Commented {
		state = "commented"
	}
	if l.Enumerated() {
		named = "enumerated"
	}
	s.Set("state", snapshot.Text(state))
	s.Set("spec", snapshot.Text(l.Spec))
	s.Set("named", snapshot.Text(named))
	s.Set("fstype", snapshot.Text(l.Type))
	s.Set("options", snapshot.List(l.Options...))
	s.Set("auto", yesNo(l.Auto()))
	if dev := l.Device(); dev != "" {
		// Without the folder nothing can be told: a recording, or a host without udev.
		folder, err := root.Exists(ctx, path.Dir(dev))
		there := false
		if err == nil && folder {
			there, err = root.Exists(ctx, dev)
		}
		switch {
		case err != nil:
			s.Fail("resolves", err)
		case folder:
			s.Set("resolves", yesNo(there))
		}
	}
	return s
}
