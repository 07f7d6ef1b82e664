package compare

import (
	"fmt"

	"lastgood/internal/snapshot"
)

// Codes of the findings that Late makes. No kind's rule makes them, for a rule sees two
// boots and these take two snapshots of one.
const (
	LateCode = "device-late"
	LeftCode = "device-left"
)

// Late lists what came and what went between the early snapshot of a boot and its
// settled one, for information: a mount that raced a disk is explained by it. Children
// of what came or went are not named. What was as late in one of the good boots is no
// news; usual gives these in pairs.
func Late(early, settled *snapshot.Snapshot, usual []EarlyAndSettled, kinds snapshot.Kinds) []snapshot.Finding {
	came := moved(early, settled, kinds)
	for _, u := range usual {
		for k, was := range moved(u.Early, u.Settled, kinds) {
			if came[k] == was {
				delete(came, k)
			}
		}
	}
	from, _ := early.Uptime()
	to, _ := settled.Uptime()
	var out []snapshot.Finding
	for _, side := range []struct {
		change snapshot.Change
		snap   *snapshot.Snapshot
	}{{snapshot.Added, settled}, {snapshot.Removed, early}} {
		for i := range side.snap.Subjects {
			s := &side.snap.Subjects[i]
			if came[s.Key().String()] == side.change && came[s.Parent] != side.change {
				out = append(out, lateFinding(s, side.change, from, to))
			}
		}
	}
	return out
}

// EarlyAndSettled are the two snapshots of a boot.
type EarlyAndSettled struct{ Early, Settled *snapshot.Snapshot }

// moved says of subjects of the machine, by their keys, whether they came or went.
func moved(early, settled *snapshot.Snapshot, kinds snapshot.Kinds) map[string]snapshot.Change {
	mine := func(s snapshot.Subject) bool { return ofMachine(s.Kind) || s.Kind == snapshot.SourceKind }
	out := map[string]snapshot.Change{}
	for _, d := range Diff(only(early, mine), only(settled, mine), kinds) {
		if d.Attr == "" && (d.Change == snapshot.Added || d.Change == snapshot.Removed) {
			out[d.Key.String()] = d.Change
		}
	}
	return out
}

func lateFinding(s *snapshot.Subject, c snapshot.Change, from, to float64) snapshot.Finding {
	f := snapshot.Finding{
		Code: LateCode, Severity: snapshot.Info, Class: snapshot.ClassHardware,
		Subject: snapshot.SubjectRef{Kind: s.Kind, ID: s.ID, Label: s.Label},
		Message: fmt.Sprintf("%s was late: it came between %.0f s and %.0f s after boot", s.Name(), from, to),
		Hint:    "what is mounted or started by its name must wait for it",
	}
	if c == snapshot.Removed {
		f.Code, f.Hint = LeftCode, ""
		f.Message = fmt.Sprintf("%s was there %.0f s after boot and was gone at %.0f s", s.Name(), from, to)
	}
	return f
}
