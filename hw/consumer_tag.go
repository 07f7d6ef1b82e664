package hw

import (
	"errors"
	"path"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

const tagUseKind = "hw.tag_use"

// tagUse is what goes with a device, so that only one thing can happen to it.
var tagUse = snapshot.Kind{
	Name: tagUseKind,
	Doc:  "a place where the boot is told to mount, open or resume from what bears a UUID or a label, known by what it is in, the tag and what for",
	Attrs: []snapshot.Attr{
		{Name: "name", Doc: "the tag: UUID=…, LABEL=…, PARTUUID=…"},
		{Name: "purpose", Doc: "what it is named for"},
		{Name: "need", Doc: "boot where the boot waits for it, later where it may be missing"},
		{Name: "leads_to", Doc: "device, or nothing where no device bears the tag"},
		{Name: "bearers", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "devices that bear it, without paths and parts of one and snapshots of it"},
		{Name: "device", Noise: snapshot.Evidence, Doc: "the device that bears it"},
		{Name: "place", Noise: snapshot.Evidence, Doc: "file and line"},
	},
	Rules: []snapshot.Rule{
		{Code: "tag-ambiguous", On: snapshot.OnWorse, Attr: "bearers", Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "{attr:place} names {attr:name} for {attr:purpose}: {new} devices bear that now, {old} did; which is taken is chance", Hint: "one is a copy of the other: take it out, or give it another UUID"},
		{Code: "tag-means-nothing", On: snapshot.OnBecomes, Attr: "leads_to", From: []string{leadsTo}, To: []string{leadsNowhere}, Where: map[string]string{"need": needBoot},
			Severity: snapshot.Critical, Class: snapshot.ClassHardware, Symptom: true, Message: tagNothingText, Hint: tagNothingHint},
		{Code: "tag-means-nothing", On: snapshot.OnBecomes, Attr: "leads_to", From: []string{leadsTo}, To: []string{leadsNowhere},
			Severity: snapshot.Warning, Class: snapshot.ClassHardware, Symptom: true, Message: tagNothingText, Hint: tagNothingHint},
	},
}

const (
	tagNothingText = "{attr:place} names {attr:name} for {attr:purpose}: no device bears that now; it was {was:device}"
	tagNothingHint = "was it formatted, or is what it lies on not assembled? See `lsblk -f`"
)

// tagFolders are the folders of udev's links for tags.
var tagFolders = map[string]string{"UUID": "/dev/disk/by-uuid", "LABEL": "/dev/disk/by-label", "PARTUUID": "/dev/disk/by-partuuid"}

// tagOf takes "UUID=x" or "/dev/disk/by-uuid/x" apart; ok is false for what is no tag that is
// looked for.
func tagOf(spec string) (tag, value string, ok bool) {
	tag, value, _ = strings.Cut(spec, "=")
	if tagFolders[tag] != "" {
		value = strings.Trim(value, `"`)
		return tag, value, value != ""
	}
	for tag, folder := range tagFolders {
		if value, found := strings.CutPrefix(spec, folder+"/"); found {
			return tag, value, value != "" && !strings.Contains(value, `\`) // a label that udev wrote otherwise
		}
	}
	return "", "", false
}

// tagSubject makes a subject of a mention of a tag.
func (r *resolver) tagSubject(family string, m *mention) (snapshot.Subject, bool) {
	tag, value, ok := tagOf(m.name)
	if !ok {
		return snapshot.Subject{}, false
	}
	s := m.subject(tagUseKind, family)
	what, err := r.bearer(tag, value)
	if err != nil {
		s.Fail("leads_to", err)
		return s, true
	}
	s.Set("leads_to", snapshot.Text(what.leads))
	if what.leads == leadsTo {
		s.Parent = what.key.String()
		s.Set("bearers", snapshot.Int(max(1, len(r.apart(r.bearers(tag, value))))))
		s.Set("device", snapshot.Text(what.label+" ["+what.key.ID+"]"))
	}
	return s, true
}

// bearers are the names of all devices that bear a tag, as their superblocks say.
func (r *resolver) bearers(tag, value string) []string {
	r.loadBlocks()
	var names []string
	for name, d := range r.blocks.devs {
		if d.bears(tag, value) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// apart leaves out of bearers what is the same thing seen twice: a member of a set (btrfs, md),
// a snapshot, LVM's hidden layers, what lies beneath another bearer (a path of multipath).
func (r *resolver) apart(names []string) []string {
	beneath := map[string]bool{}
	for _, name := range names {
		if d := r.blocks.devs[name]; d.Kind == mdKind || d.Kind == dmKind {
			r.blocks.walk(d, maxLayers, map[string]bool{}, func(below *device) bool {
				beneath[below.name] = true
				return below.Kind != partitionKind // its neighbours are none of the volume's
			})
		}
	}
	var out []string
	for _, name := range names {
		d := r.blocks.devs[name]
		part := d.Kind == partitionKind
		switch {
		case d.held.Set != "" || d.hiddenDM() || d.Text("snapshot") == "yes":
		case beneath[name] || part && beneath[diskOf(d.dir)]:
		default:
			out = append(out, name)
		}
	}
	return out
}

// bearer is the device that bears a tag: as its superblock says, or as udev found.
func (r *resolver) bearer(tag, value string) (meaning, error) {
	r.loadBlocks()
	names := r.bearers(tag, value)
	var unread error
	for name, d := range r.blocks.devs {
		switch {
		case d.hiddenDM(): // what it holds is seen through the volume
		case d.held.why != nil:
			unread = d.held.why
		case d.held.Table == "" && (d.held.Holds == "" || d.held.Holds == "unknown"):
			unread = errors.New("what " + name + " holds is not known")
		}
	}
	for _, name := range names {
		if m, err := r.block(name); err == nil && m.leads == leadsTo {
			return m, nil
		}
	}
	target, err := r.host.Root.Target(r.ctx, tagFolders[tag], value)
	if err == nil {
		return r.block(path.Base(target))
	}
	if !sysfs.Absent(err) {
		return meaning{}, err
	}
	if udev, err := r.host.Root.Exists(r.ctx, "/dev/disk"); err != nil || udev {
		return meaning{leads: leadsNowhere}, err
	}
	return meaning{leads: leadsNowhere}, errors.Join(r.unread, unread)
}

// bears reports whether a device bears a tag.
func (d *device) bears(tag, value string) bool {
	switch tag {
	case "UUID":
		return strings.EqualFold(d.held.fsUUID(), value)
	case "LABEL":
		return d.held.Label == value
	}
	return strings.EqualFold(d.Text("partuuid"), value)
}
