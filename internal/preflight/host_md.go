package preflight

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

func mdChecks() []Check {
	return []Check{{Code: "md-degraded", Title: "software RAID is whole", Severity: snapshot.Warning, Class: snapshot.ClassHardware,
		Doc: "A degraded array has nothing left to lose at a reboot, where disks fail and names move.", Run: checkMD}}
}

// array is a software RAID array as /proc/mdstat shows it.
type array struct {
	name, line     string
	active         bool
	want, have     int
	failed         []string
	counted, clean bool // clean: no slot is shown empty
}

// mdCount is the kernel's [wanted/working] [UU_] (md_seq_show, drivers/md/md.c).
var mdCount = regexp.MustCompile(`\[(\d+)/(\d+)\] \[([U_]+)\]`)

// parseMdstat reads the arrays of /proc/mdstat.
func parseMdstat(text string) []array {
	var out []array
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		name, rest, found := strings.Cut(line, " : ")
		if found && strings.HasPrefix(name, "md") && !strings.ContainsAny(name, " \t") {
			a := array{name: name, line: line, active: strings.HasPrefix(rest, "active"), clean: true}
			for _, member := range strings.Fields(rest) {
				if strings.Contains(member, "(F)") {
					a.failed = append(a.failed, member[:strings.IndexByte(member+"[", '[')])
				}
			}
			out = append(out, a)
			continue
		}
		m := mdCount.FindStringSubmatch(line)
		if m == nil || len(out) == 0 || out[len(out)-1].counted {
			continue
		}
		a := &out[len(out)-1]
		a.counted, a.clean = true, !strings.Contains(m[3], "_")
		_, _ = fmt.Sscan(m[1], &a.want) // digits by the pattern; a number beyond int leaves the slots to tell
		_, _ = fmt.Sscan(m[2], &a.have)
		a.line += "; " + strings.TrimSpace(line)
	}
	return out
}

func checkMD(ctx context.Context, h source.Host, _ Target) (fs []snapshot.Finding, gaps []snapshot.Gap) {
	text, found, err := readText(ctx, h.Root, "/proc/mdstat")
	if err != nil {
		return nil, []snapshot.Gap{unread(err)}
	}
	if !found {
		return nil, nil // no md driver, no arrays
	}
	for _, a := range parseMdstat(text) {
		f := snapshot.Finding{Subject: snapshot.SubjectRef{Kind: "hw.raid", ID: a.name}, Evidence: a.line, Hint: "look before the reboot: mdadm --detail /dev/" + a.name}
		switch {
		case !a.active:
			f.Message = "array " + a.name + " is not started: its file systems will not be there after the reboot"
		case !a.clean || len(a.failed) > 0:
			f.Message = fmt.Sprintf("array %s is degraded: %d of %d disks work", a.name, a.have, a.want)
		default:
			continue
		}
		fs = append(fs, f)
	}
	return fs, gaps
}
