package compare

import (
	"slices"

	"lastgood/internal/snapshot"
)

// Musts are the findings of one snapshot that need nothing to compare it with: those of rules that fire on what is
// so now. A boot that has one of the failing severity is not to be learned as good.
func Musts(s *snapshot.Snapshot, kinds snapshot.Kinds, policy Policy) (findings []snapshot.Finding, fail bool) {
	only := snapshot.Kinds{}
	for name, k := range kinds {
		rules := slices.DeleteFunc(slices.Clone(k.Rules), func(r snapshot.Rule) bool { return r.On != snapshot.OnIs })
		if len(rules) > 0 {
			kind := *k
			kind.Rules = rules
			only[name] = &kind
		}
	}
	j := judge{old: s, new: s, kinds: only, policy: policy, same: true}
	for _, p := range j.pairs(nil) {
		j.judgePair(p)
	}
	for _, f := range j.findings {
		f.Old = nil // there is nothing that it was before
		findings = append(findings, f.Finding)
		fail = fail || f.Severity.Rank() >= policy.failRank()
	}
	slices.SortStableFunc(findings, worstFirst)
	return findings, fail
}
