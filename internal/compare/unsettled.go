package compare

import (
	"slices"

	"lastgood/internal/snapshot"
)

// notYet reports whether a finding of the rule may be of something that is only late:
// a device that may still come, a driver that may still bind, a link that may still come up.
// Of an error that was counted, of heat, of something new or of a controller that died nothing is late.
func notYet(r *snapshot.Rule, k *snapshot.Kind) bool {
	if !ofMachine(k.Name) || r.Cause {
		return false
	}
	switch r.On {
	case snapshot.OnMissing, snapshot.OnBecomes, snapshot.OnChanged:
		return true
	case snapshot.OnWorse:
		decl, _ := k.Attr(r.Attr)
		return decl.Better != snapshot.LowerBetter
	}
	return false
}

// late is a finding that may go away by waiting, by what it is found under.
type late struct {
	code    string
	subject snapshot.SubjectRef
}

// unsettled takes out of the findings on a host that had not settled what may
// only be late, and makes gaps of it. They count where the finding would have failed the
// boot: then it cannot be told whether the boot is good.
func (j *judge) unsettled(findings []snapshot.Finding) (left []snapshot.Finding, gaps []snapshot.Gap) {
	waits := map[late]bool{}
	for _, f := range j.findings {
		if f.late {
			waits[late{f.Code, f.Subject}] = true
		}
	}
	for _, f := range findings {
		remark := f.Severity == snapshot.Info && f.Attr != "" // on a device that is there
		if !waits[late{f.Code, f.Subject}] || remark {
			left = append(left, f)
			continue
		}
		gaps = append(gaps, snapshot.Gap{
			Kind: f.Subject.Kind, ID: f.Subject.ID, Label: f.Subject.Label, Counts: f.Severity.Rank() >= j.policy.failRank(),
			Reason: "not comparable yet, for the host had not settled: " + f.Message,
		})
	}
	slices.SortStableFunc(gaps, func(a, b snapshot.Gap) int {
		switch {
		case a.Counts == b.Counts:
			return 0
		case a.Counts:
			return -1
		}
		return 1
	})
	return left, gaps
}

// unsettledGap says of a snapshot that devices may have been coming yet. It counts
// where the snapshot is to be learned: what came later would be new at the next boot, and
// missed by nobody.
func unsettledGap(s *snapshot.Snapshot) []snapshot.Gap {
	if !s.Unsettled() {
		return nil
	}
	reason := "the snapshot was taken before the host had settled, so devices may be wanting in it"
	if sub := s.Subject(snapshot.Key{Kind: snapshot.SourceKind, ID: snapshot.SettleSource}); sub != nil && sub.Reason != "" {
		reason += ": " + sub.Reason
	}
	return []snapshot.Gap{{Kind: snapshot.SourceKind, ID: snapshot.SettleSource, Label: "settling", Reason: reason, Counts: true}}
}
