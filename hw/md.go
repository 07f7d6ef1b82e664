package hw

import (
	"slices"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

const mdKind = "hw.md"

// mdRunning stands for the states of an array that work goes on in; which of them it
// is varies from moment to moment.
const mdRunning = "running"

var mdArray = snapshot.Kind{
	Name:        mdKind,
	Doc:         "a software RAID array (md), known by the UUID that its members bear",
	AliasAttr:   "aliases",
	WeakAliases: []string{"at"},
	Attrs: append([]snapshot.Attr{
		{Name: "name", Doc: "what the kernel calls it today"},
		{Name: "uuid", Doc: "UUID of the array"},
		{Name: "level", Doc: "raid1, raid5, linear …"},
		{Name: "metadata", Doc: "format of its superblocks"},
		{Name: "state", Doc: "running (array_state clean, active, active-idle, write-pending or read-auto), or the kernel's word: readonly, inactive, suspended, clear, broken"},
		{Name: "size_bytes", Unit: snapshot.Bytes, Better: snapshot.HigherBetter, Doc: "capacity"},
		{Name: "disks", Unit: snapshot.Count, Doc: "members that it is made of when it is whole"},
		{Name: "degraded", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "members that it lacks; only where its level has any to spare"},
		{Name: "failed", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "members that were thrown out for their errors"},
		{Name: "sync_action", Noise: snapshot.Ambient, Doc: "what goes on beside the work: idle, resync, recover, check …"},
		{Name: "on", Better: snapshot.HigherBetter, Ref: true, Doc: "the partitions, disks or volumes that it lies on"},
		{Name: "removable", Doc: "yes where a disk beneath can be taken out, or did not say"},
		{Name: "aliases", Noise: snapshot.Evidence, Doc: "all that it can be known by"},
	}, contentAttrs()...),
	Rules: append([]snapshot.Rule{
		{Code: "md-missing", On: snapshot.OnMissing, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "array {name} is gone", Hint: "look for its members with `mdadm --examine --scan`, and for its driver ({attr:level})"},
		{Code: "md-degraded", On: snapshot.OnWorse, Attr: "degraded", Topic: "members", Cause: true, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "array {name} lacks {new} members, lacked {old}", Hint: "mdadm --detail /dev/{attr:name}"},
		{Code: "md-member-failed", On: snapshot.OnWorse, Attr: "failed", Topic: "members", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "{new} members of array {name} failed, were {old}"},
		{Code: "md-member-gone", On: snapshot.OnWorse, Attr: "on", Topic: "members", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
			Message: "array {name} lies no longer on {lost}"},
		{Code: "md-stopped", On: snapshot.OnBecomes, Attr: "state", From: []string{mdRunning}, Severity: snapshot.Critical, Class: snapshot.ClassHardware,
			Message: "array {name} is {new}"},
		{Code: "md-renamed", On: snapshot.OnChanged, Attr: "name", Severity: snapshot.Info, Class: snapshot.ClassHardware,
			Message: "same array: was {old}, is {new}; what names it {old}: {users}"},
		{Code: "md-shrank", On: snapshot.OnWorse, Attr: "size_bytes", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Message: "array {name} has {new}, had {old}"},
	}, contentRules("md", "array")...),
}

// readMD reads what drivers/md/md.c shows in the array's folder md.
func (s *stack) readMD(d *device) bool {
	state := d.attr("state", "md", "array_state")
	if state == "" && d.Errs["state"] == "" {
		return false // a partition of an array, or another device named so
	}
	d.Set("name", snapshot.Text(d.name))
	if state != "" {
		d.Set("state", snapshot.Text(mdState(state)))
	}
	d.keep("level", "md", "level")
	d.keep("metadata", "md", "metadata_version")
	d.keep("sync_action", "md", "sync_action")
	d.number("size_bytes", sectorBytes, "size")
	d.number("disks", 1, "md", "raid_disks")
	d.number("degraded", 1, "md", "degraded")
	d.Set("failed", snapshot.Int(0))
	members := s.mdMembers(d)
	id, err := s.mdUUID(d, members)
	if id != "" {
		d.Set("uuid", snapshot.Text(id))
		d.alias("md", id)
	} else {
		d.doubt(err)
	}
	d.place = "at:" + d.name
	d.Label = strings.TrimSpace(d.Text("level") + " " + d.name)
	return d.Text("level") != "" || len(members) > 0 // one that was never started is none
}

func mdState(s string) string {
	switch s {
	case "clean", "active", "active-idle", "write-pending", "read-auto":
		return mdRunning
	}
	return s
}

// mdMembers counts the failed members, folders dev-NAME, and lists all by name.
func (s *stack) mdMembers(d *device) []string {
	names, err := d.root.List(d.ctx, d.dir, "md")
	if err != nil {
		d.Fail("failed", err)
		delete(d.Attrs, "failed")
		return nil
	}
	failed := 0
	var members []string
	for _, n := range names {
		name, found := strings.CutPrefix(n, "dev-")
		if !found {
			continue
		}
		members = append(members, name)
		state, err := d.root.Attr(d.ctx, d.dir, "md", n, "state")
		if err != nil && !sysfs.Absent(err) {
			d.Fail("failed", err)
		}
		if slices.Contains(strings.Split(state, ","), "faulty") {
			failed++
		}
	}
	if d.Errs["failed"] == "" {
		d.Set("failed", snapshot.Int(failed))
	} else {
		delete(d.Attrs, "failed")
	}
	return members
}

// mdUUID is what the kernel says (md/uuid, not on every kernel), or else the
// superblock of a member. An array without superblocks of md's own has none: to such a
// one the kernel gives another at each start (set_array_info of drivers/md/md.c).
func (s *stack) mdUUID(d *device, members []string) (string, error) {
	if v := d.Text("metadata"); v == "none" || strings.HasPrefix(v, "external") {
		return "", nil
	}
	text, err := d.root.Attr(d.ctx, d.dir, "md", "uuid")
	if id := textUUID(text); id != "" {
		return id, nil
	}
	if sysfs.Absent(err) {
		err = nil
	}
	for _, m := range members {
		below := s.devs[m]
		if below == nil {
			continue
		}
		if below.held.Type == "md" && below.held.Set != "" {
			return below.held.Set, nil
		}
		err = below.held.why
	}
	return "", err
}
