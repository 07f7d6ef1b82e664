package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"lastgood/internal/fstab"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// Learn writes a draft of a contract from what is healthy on this host now: YAML with a comment to each group. What could not be
// looked at is said in comments at its end.
func Learn(ctx context.Context, h source.Host, name string) (string, error) {
	if !goodName.MatchString(name) {
		return "", fmt.Errorf("learn contract: name %q: want letters, digits, - and _", name)
	}
	d := &draft{used: map[string]int{}}
	d.services(ctx, h)
	d.storage(ctx, h)
	d.network(ctx, h)
	if len(d.checks) == 0 {
		return "", fmt.Errorf("learn contract: nothing healthy was found: %w", errors.Join(d.errs...))
	}
	host, err := hostName(ctx, h.Root)
	if err != nil {
		return "", err
	}
	return d.write(name, host)
}

// draft is a contract while it is written.
type draft struct {
	checks []drafted
	used   map[string]int
	errs   []error
}

// drafted is a check as it is written: only what it says.
type drafted struct {
	id, severity, kind string
	value              yaml.MapSlice
	same               bool
}

func pairOf(kv ...any) yaml.MapSlice {
	var out yaml.MapSlice
	for i := 0; i+1 < len(kv); i += 2 {
		out = append(out, yaml.MapItem{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

func (d *draft) add(id, severity, kind string, same bool, value yaml.MapSlice) {
	id = slug(id)
	if d.used[id]++; d.used[id] > 1 {
		id = fmt.Sprintf("%s-%d", id, d.used[id])
	}
	d.checks = append(d.checks, drafted{id, severity, kind, value, same})
}

// slug makes an id of any text.
func slug(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, s)
	s = strings.Trim(s[:min(len(s), 50)], "-._")
	if s == "" {
		return "root"
	}
	return s
}

// read runs one of the learned sources and keeps why it could not tell all.
func (d *draft) read(ctx context.Context, h source.Host, read func(context.Context, source.Host) ([]snapshot.Subject, error)) []snapshot.Subject {
	all, err := read(ctx, h)
	if err != nil {
		d.errs = append(d.errs, err)
	}
	return slices.DeleteFunc(all, func(s snapshot.Subject) bool { return s.Outcome != snapshot.Measured })
}

// common are units that every host has: a contract that names them all says nothing of this one.
var common = []string{"systemd-", "dbus", "getty", "apt-", "dpkg-", "e2scrub", "fstrim", "logrotate", "man-db", "plymouth", "modprobe@", "kmod-", "keyboard-setup", "console-setup", "initrd-", "motd-", "apparmor", "rsyslog", "polkit"}

func (d *draft) services(ctx context.Context, h source.Host) {
	for _, s := range d.read(ctx, h, readUnits) {
		if s.Text("state") != "active" || s.Text("starts") != "boot" || slices.ContainsFunc(common, func(p string) bool { return strings.HasPrefix(s.ID, p) }) {
			continue
		}
		d.add("unit-"+s.ID, Required, "unit", false, pairOf("name", s.ID, "fail_fast_on", []string{"start-limit-hit"}))
	}
	for _, s := range d.read(ctx, h, readListeners) {
		network, address, _ := strings.Cut(s.ID, "/")
		if network != "tcp" || s.Text("by") != "service" {
			continue
		}
		address = strings.NewReplacer("0.0.0.0:", "127.0.0.1:", "[::]:", "[::1]:").Replace(address)
		d.add("tcp-"+address, Wanted, "tcp", false, pairOf("address", address))
	}
}

func (d *draft) storage(ctx context.Context, h source.Host) {
	for _, s := range d.read(ctx, h, readMounts) {
		if s.Kind != mountKind || s.Text("by") == "hand" || s.Text("by") == "demand" {
			continue // no boot mounts it by itself
		}
		value := pairOf("path", s.ID, "fstype", s.Text("fstype"), "mode", s.Text("mode"))
		if uuid := s.Text("uuid"); uuid != "" {
			value = append(value, yaml.MapItem{Key: "uuid", Value: uuid})
		}
		d.add("mount-"+s.ID, Required, "mount", false, value)
	}
	if len(localOSDs(ctx, h.Root)) > 0 {
		d.add("osds-up-in", Required, "ceph_osd", true, pairOf("up", true, "in", true))
		d.add("osd-blocks", Required, "block_device", true, pairOf("local_osds", true, "openable", true))
	}
	active, _, err := logicalVolumes(ctx, h.Root)
	if err == nil && len(active) > 0 {
		d.add("logical-volumes", Required, "lvm", true, pairOf())
	}
	lines, err := fstabLines(ctx, h.Root)
	if err == nil && slices.ContainsFunc(lines, func(l fstab.Line) bool { return !l.Commented }) {
		d.add("fstab-stable", Wanted, "fstab", false, pairOf("stable_specs_only", true))
	}
}

func (d *draft) network(ctx context.Context, h source.Host) {
	seen := map[string]bool{}
	for _, s := range d.read(ctx, h, readRoutes) {
		family, _, _ := strings.Cut(s.ID, "/")
		if seen[family] || s.Text("by") != "set" {
			continue
		}
		seen[family] = true
		value := pairOf("family", family, "dev", s.Text("interface"))
		if g := s.Text("gateway"); g != "none" {
			value = append(value, yaml.MapItem{Key: "gateway", Value: g})
		}
		if s.Text("reachable") == "yes" {
			value = append(value, yaml.MapItem{Key: "gateway_reachable", Value: true})
		}
		d.add("route-"+family, Required, "route", false, value)
	}
	for _, s := range d.read(ctx, h, readBridges) {
		value := pairOf("name", s.ID, "kind", s.Text("type"))
		if s.Text("carrier") == "yes" {
			value = append(value, yaml.MapItem{Key: "carrier", Value: true})
		}
		if ports, _ := s.Attrs["ports"].Items(); len(ports) > 0 {
			value = append(value, yaml.MapItem{Key: "ports", Value: ports})
		}
		d.add("link-"+s.ID, Required, "link", true, value)
	}
	for _, s := range d.read(ctx, h, readHostName) {
		value := pairOf("equals", s.Text("name"))
		if s.Text("leads_to") == "host" {
			value = append(value, yaml.MapItem{Key: "resolves_to", Value: "anything"})
		}
		d.add("hostname", Wanted, "hostname", false, value)
	}
}

// learnedWithin is when a learned check must hold: a bare-metal host's services are up by then.
const learnedWithin = 3 * time.Minute

func (d *draft) write(name, host string) (string, error) {
	var checks []yaml.MapSlice
	for _, c := range d.checks {
		m := pairOf("id", c.id)
		if c.severity != Required {
			m = append(m, yaml.MapItem{Key: "severity", Value: c.severity})
		}
		if c.same {
			m = append(m, yaml.MapItem{Key: "same_as_baseline", Value: true})
		}
		if c.value == nil {
			c.value = yaml.MapSlice{}
		}
		checks = append(checks, append(m, yaml.MapItem{Key: c.kind, Value: c.value}))
	}
	doc := pairOf("apiVersion", APIVersion, "kind", ContractKind, "metadata", pairOf("name", name),
		"match", pairOf("hostname", []string{host}),
		"defaults", pairOf("within", learnedWithin.String(), "stable_for", "10s", "severity", Required, "on_regression", "notify"), "checks", checks)
	b, err := yaml.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("learn contract: %w", err)
	}
	text := "# A draft from what is healthy on " + host + " now: take out what may be otherwise, then put it into " + Folder + ".\n" +
		"# What lastgood learns by itself (mounts, units, addresses, routes ...) is compared with the last good boot without any contract.\n" + string(b)
	for _, err := range d.errs {
		for line := range strings.Lines(err.Error()) {
			text += "# not looked at: " + strings.TrimRight(line, "\n") + "\n"
		}
	}
	if _, err := Parse([]byte(text), "draft"); err != nil {
		return "", fmt.Errorf("learn contract: fault in lastgood: %w", err)
	}
	return text, nil
}
