package cli

import (
	"slices"
	"strings"

	"lastgood/internal/boot"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// sinceFacts are the facts of the identity that are told among what changed.
var sinceFacts = map[string]string{"release": "kernel", "build_id": "kernel build-id", "cmdline": "command line", "microcode": "microcode", "lockdown": "lockdown", "secure_boot": "secure boot", "cpu_model": "CPU"}

// since tells what changed from one snapshot to the other, by all transactions in between.
func since(base, snap *snapshot.Snapshot, logs []boot.Log) *report.Since {
	s := &report.Since{Facts: []report.SinceFact{}, Transactions: []report.Transaction{}}
	for _, c := range base.Identity.Changes(&snap.Identity) {
		if name := sinceFacts[c.Fact]; name != "" {
			s.Facts = append(s.Facts, report.SinceFact{What: name, Old: c.Old, New: c.New})
		}
	}
	componentsSince(s, base, snap)
	for i := range logs {
		logSince(s, base, &logs[i])
	}
	s.Reboot = reboot(snap)
	return s
}

// componentsSince lists the parts of the boot that are others now. What one side lacks because it
// could not be read, or was not looked at, is no change.
func componentsSince(s *report.Since, base, snap *snapshot.Snapshot) {
	if base.Coverage()[boot.ComponentKind] != snapshot.Measured {
		s.Notes = append(s.Notes, "the last good boot does not say what it was made of, beside its kernel's identity")
		return
	}
	seen := map[string]bool{}
	for _, from := range []*snapshot.Snapshot{base, snap} {
		for i := range from.Subjects {
			id := from.Subjects[i].ID
			if from.Subjects[i].Kind != boot.ComponentKind || seen[id] {
				continue
			}
			seen[id] = true
			key := snapshot.Key{Kind: boot.ComponentKind, ID: id}
			if f, changed := componentChange(id, base.Subject(key), snap.Subject(key)); changed {
				s.Facts = append(s.Facts, f)
			}
		}
	}
}

func componentChange(id string, old, now *snapshot.Subject) (report.SinceFact, bool) {
	f := report.SinceFact{What: strings.ReplaceAll(id, "_", " ")}
	for _, s := range []*snapshot.Subject{old, now} {
		if s != nil && s.Outcome != snapshot.Measured {
			return f, false
		}
	}
	f.Old, f.New = onlyIn(old, now), onlyIn(now, old)
	return f, f.Old != f.New
}

// onlyIn is what of a component's versions or hash the other one does not have.
func onlyIn(s, other *snapshot.Subject) string {
	if s == nil {
		return ""
	}
	if sum := s.Text("sha256"); sum != "" {
		if other != nil && other.Text("sha256") == sum {
			return ""
		}
		text := "sha256 " + sum[:min(len(sum), 12)]
		if other == nil || other.Text("path") != s.Text("path") {
			text = s.Text("path") + ", " + text
		}
		return text
	}
	items, _ := s.Attrs["version"].Items()
	var theirs []string
	if other != nil {
		theirs, _ = other.Attrs["version"].Items()
	}
	return strings.Join(slices.DeleteFunc(slices.Clone(items), func(i string) bool { return slices.Contains(theirs, i) }), ", ")
}

// logSince adds what a package manager did after the point at which the last good boot found its log.
func logSince(s *report.Since, base *snapshot.Snapshot, l *boot.Log) {
	if l.Err != nil {
		s.Notes = append(s.Notes, l.Manager+": what it did could not be told: "+l.Err.Error())
		return
	}
	mark := base.Subject(snapshot.Key{Kind: boot.LogKind, ID: l.Manager})
	known := mark != nil && mark.Outcome == snapshot.Measured || mark == nil && base.Coverage()[boot.LogKind] == snapshot.Measured
	last := ""
	if mark != nil {
		last = mark.Text("last")
	}
	after, note := l.Since(last, known, base.Taken)
	told := 0
	for _, t := range after {
		if len(t.Packages) == 0 {
			if t.Others > 0 {
				s.Unrelated++
			}
			continue
		}
		told++
		s.Transactions = append(s.Transactions, transaction(t))
	}
	// A log that lost its place may have lost what it told: that nothing is in it says nothing then.
	if lost := known && last != ""; note != "" && (told > 0 || lost) {
		s.Notes = append(s.Notes, note)
	}
}

func transaction(t boot.Transaction) report.Transaction {
	out := report.Transaction{Manager: t.Manager, ID: t.ID, Time: t.Time, Command: t.Command, User: t.User, Automatic: t.Auto, Failed: t.Failed, Others: t.Others}
	for _, p := range t.Packages {
		out.Packages = append(out.Packages, report.PackageChange(p))
	}
	return out
}

// reboot is how the boot before ended, as the snapshot has it.
func reboot(snap *snapshot.Snapshot) report.Reboot {
	p := snap.Subject(snapshot.Key{Kind: boot.PastKind, ID: boot.Before})
	if p == nil {
		return report.Reboot{Why: "it was not looked at"}
	}
	r := report.Reboot{Ended: p.Text("ended"), How: p.Text("how"), Why: p.Errs["ended"]}
	r.By, _ = p.Attrs["by"].Items()
	if o := snap.Subject(snapshot.Key{Kind: boot.OutcomeKind, ID: boot.ThisBoot}); o != nil && o.Text("asked_by") != "" {
		r.By = append([]string{o.Text("asked_by")}, r.By...)
	}
	return r
}
