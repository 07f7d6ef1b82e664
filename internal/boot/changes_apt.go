package boot

import (
	"context"
	"strings"
	"time"

	"lastgood/internal/sysfs"
)

func readApt(ctx context.Context, root *sysfs.Root) *Log {
	return fromText(ctx, root, "apt", "/var/log/apt/history.log", parseAptHistory)
}

// aptActions are the fields of apt's history that list packages (apt-pkg/deb/dpkgpm.cc).
var aptActions = map[string]string{
	"Install": "install", "Reinstall": "reinstall", "Upgrade": "upgrade", "Downgrade": "downgrade", "Remove": "remove", "Purge": "remove",
}

// parseAptHistory reads stanzas of "Name: value" lines with empty lines between. A stanza without
// Start-Date, as a cut-off log begins with, is passed over.
func parseAptHistory(text string) []Transaction {
	var out []Transaction
	var now Transaction
	var stanza strings.Builder
	end := func() {
		if now.Time != "" {
			now.Auto = isAutomatic(now.Command)
			now.seal(stanza.String())
			out = append(out, now)
		}
		now = Transaction{}
		stanza.Reset()
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			end()
			continue
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		if name == "Start-Date" {
			end()
			now = Transaction{Manager: "apt", Time: flatText(value), when: localTime("2006-01-02  15:04:05", value)}
		}
		now.aptField(name, value)
		if name != "End-Date" { // it is not there while apt is at work
			stanza.WriteString(line + "\n")
		}
	}
	end()
	return out
}

func (t *Transaction) aptField(name, value string) {
	switch name {
	case "Commandline":
		t.Command = flatText(value)
	case "Requested-By":
		t.User = flatText(value)
	case "Error":
		t.Failed = true
	}
	action, ok := aptActions[name]
	if !ok {
		return
	}
	for item := range strings.SplitSeq(value, "), ") {
		pkg, versions, found := strings.Cut(strings.TrimSuffix(item, ")"), " (")
		if !found {
			continue
		}
		pkg, _, _ = strings.Cut(strings.TrimSpace(pkg), ":")
		v := strings.Split(versions, ", ")
		c := PackageChange{Name: flatText(pkg), Action: action}
		switch {
		case action == "remove":
			c.Old = flatText(v[0])
		case (action == "upgrade" || action == "downgrade") && len(v) > 1:
			c.Old, c.New = flatText(v[0]), flatText(v[1])
		default:
			c.New = flatText(v[0])
		}
		t.add(c)
	}
}

// localTime reads a time that a log has without its zone: the host's. It is zero where it is none.
func localTime(layout, value string) time.Time {
	t, err := time.ParseInLocation(layout, strings.TrimSpace(value), time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

// readDpkg reads what was installed without apt: `dpkg -i`, or another front end. What apt's
// history tells too is left out, where that could be read.
func readDpkg(ctx context.Context, root *sysfs.Root, apt *Log) *Log {
	l := fromText(ctx, root, "dpkg", "/var/log/dpkg.log", parseDpkgLog)
	if l == nil || apt == nil {
		return l
	}
	type change struct{ name, old, new string }
	told := map[change]bool{}
	for _, t := range apt.Transactions {
		for _, p := range t.Packages {
			told[change{p.Name, p.Old, p.New}] = true
		}
	}
	for i := range l.Transactions {
		t := &l.Transactions[i]
		var rest []PackageChange
		for _, p := range t.Packages {
			if !told[change{p.Name, p.Old, p.New}] {
				rest = append(rest, p)
			}
		}
		t.Packages, t.Others = rest, 0
	}
	return l
}

// parseDpkgLog reads "DATE TIME ACTION PACKAGE:ARCH OLD NEW" lines; "DATE TIME startup …" begins a
// run of dpkg. apt runs it several times in one transaction, so runs that follow one another within
// a minute are one.
func parseDpkgLog(text string) []Transaction {
	var out []Transaction
	var now *Transaction
	var body strings.Builder
	end := func() {
		if now != nil && body.Len() > 0 {
			now.seal(body.String())
			out = append(out, *now)
		}
		now = nil
		body.Reset()
	}
	var last time.Time
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		when := localTime("2006-01-02 15:04:05", f[0]+" "+f[1])
		if when.IsZero() {
			continue
		}
		if f[2] == "startup" && when.Sub(last).Abs() > time.Minute {
			end()
		}
		last = when
		c, ok := dpkgChange(f[2:])
		if !ok {
			continue
		}
		if now == nil {
			now = &Transaction{Manager: "dpkg", Time: f[0] + " " + f[1], when: when}
		}
		now.add(c)
		body.WriteString(line)
	}
	end()
	return out
}

// dpkgChange reads ACTION PACKAGE:ARCH OLD NEW.
func dpkgChange(f []string) (PackageChange, bool) {
	if len(f) < 4 {
		return PackageChange{}, false
	}
	name, _, _ := strings.Cut(f[1], ":")
	c := PackageChange{Name: flatText(name), Action: f[0], Old: f[2], New: f[3]}
	switch f[0] {
	case "install", "upgrade":
	case "remove", "purge":
		c.Action, c.New = "remove", ""
	default:
		return PackageChange{}, false
	}
	if c.Old == "<none>" {
		c.Old = ""
	}
	if c.New == "<none>" {
		c.New = ""
	}
	return c, true
}
