package contract

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

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

// fstabLine is a line of fstab(5).
type fstabLine struct {
	spec, point, fstype string
	options             []string
	number              int // from 1
	commented           bool
}

func (l *fstabLine) auto() bool { return !slices.Contains(l.options, "noauto") }

// specLike tells a line that is commented out from prose by its first field.
var specLike = regexp.MustCompile(`^(UUID=|LABEL=|PARTUUID=|PARTLABEL=|ID=|/dev/|//|[\w.-]+:/)`)

// parseFstab reads the lines, and those that are commented out and would be lines.
func parseFstab(text string) []fstabLine {
	var out []fstabLine
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		commented := strings.HasPrefix(line, "#")
		f := strings.Fields(strings.TrimLeft(line, "# \t"))
		if len(f) < 3 || commented && (len(f) < 4 || len(f) > 6 || !specLike.MatchString(f[0]) || !strings.HasPrefix(f[1], "/") && f[2] != "swap") {
			continue
		}
		l := fstabLine{spec: unoctal(f[0]), point: unoctal(f[1]), fstype: f[2], number: n, commented: commented}
		if len(f) > 3 {
			l.options = strings.Split(f[3], ",")
		}
		out = append(out, l)
	}
	return out
}

// unoctal takes back what the kernel and fstab(5) write for blanks: \040.
func unoctal(s string) string {
	var out strings.Builder
	octal := func(c byte) bool { return c >= '0' && c <= '7' }
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3' && octal(s[i+2]) && octal(s[i+3]) {
			out.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// enumerated are kernel names that follow the order in which disks are found.
var enumerated = regexp.MustCompile(`^/dev/(sd[a-z]+|hd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|sr\d+|mmcblk\d+)(p?\d+)?$`)

// tagFolders are where udev links devices by what they bear.
var tagFolders = map[string]string{"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}

// devicePath is the device that a line names as a path: "" for what is no device.
func devicePath(spec string) string {
	if tag, value, found := strings.Cut(spec, "="); found && tagFolders[tag] != "" {
		return path.Join("/dev/disk", tagFolders[tag], udevName(strings.Trim(value, `"`)))
	}
	if strings.HasPrefix(spec, "/dev/") {
		return path.Clean(spec)
	}
	return ""
}

// udevName writes a label as udev names its link: other characters as \x20
// (encode_devnode_name of systemd's src/shared/device-nodes.c).
func udevName(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > 127 || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("#+-.:=@_", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.WriteString(`\x`)
		out.WriteByte("0123456789abcdef"[c>>4])
		out.WriteByte("0123456789abcdef"[c&15])
	}
	return out.String()
}

// fstab reads /etc/fstab; a host without one mounts nothing by it.
func fstab(ctx context.Context, root *sysfs.Root) ([]fstabLine, error) {
	text, _, err := readText(ctx, root, maxFile, "/etc/fstab")
	return parseFstab(text), err
}

func readFstab(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	lines, err := fstab(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	byID := map[string]snapshot.Subject{}
	for _, l := range lines {
		s := fstabSubject(ctx, h.Root, &l)
		// A line that was kept beside the one it replaced says nothing.
		if old, twice := byID[s.ID]; twice && (l.commented || old.Text("state") == "active") {
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

func fstabSubject(ctx context.Context, root *sysfs.Root, l *fstabLine) snapshot.Subject {
	s := snapshot.Subject{Kind: fstabKind, ID: l.point, Outcome: snapshot.Measured}
	if l.fstype == "swap" {
		s.ID = "swap:" + l.spec
	}
	state, named := "active", "stable"
	if l.commented {
		state = "commented"
	}
	if enumerated.MatchString(l.spec) {
		named = "enumerated"
	}
	s.Set("state", snapshot.Text(state))
	s.Set("spec", snapshot.Text(l.spec))
	s.Set("named", snapshot.Text(named))
	s.Set("fstype", snapshot.Text(l.fstype))
	s.Set("options", snapshot.List(l.options...))
	s.Set("auto", yesNo(l.auto()))
	if dev := devicePath(l.spec); dev != "" {
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
