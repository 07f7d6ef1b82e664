package compare

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"lastgood/internal/snapshot"
)

// Policy is what the administrator may change about judging. The zero Policy is
// the default: the Kinds' own rules, and only critical findings fail.
type Policy struct {
	// FailOn is the least severity that makes the verdict "regressed".
	FailOn snapshot.Severity
	// Rules changes rules by their codes.
	Rules map[string]Override
	// Ignore lists subjects that are never judged, as shell patterns on "kind/id".
	Ignore []string
}

// Override changes parts of a rule; what is nil stays as declared.
type Override struct {
	Severity *snapshot.Severity `json:"severity,omitempty"`
	Ratio    *float64           `json:"ratio,omitempty"`
	Floor    *float64           `json:"floor,omitempty"`
	Share    *float64           `json:"share,omitempty"`
}

// Check refuses a policy that names a rule nobody declares, an unknown severity
// or a broken pattern: a misspelt rule would otherwise be a check that cannot fail.
// Findings that no kind's rule makes are declared by their codes alone.
func (p *Policy) Check(kinds snapshot.Kinds, declared ...string) error {
	codes := map[string]bool{}
	for _, code := range declared {
		codes[code] = true
	}
	for _, k := range kinds {
		for _, r := range k.Rules {
			codes[r.Code] = true
		}
	}
	for _, code := range slices.Sorted(maps.Keys(p.Rules)) {
		if !codes[code] {
			return fmt.Errorf("check policy: no rule has the code %q", code)
		}
		if s := p.Rules[code].Severity; s != nil && s.Rank() == 0 && *s != snapshot.Off {
			return fmt.Errorf("check policy: rule %s: severity %q is none of critical, warning, info, off", code, *s)
		}
	}
	if p.FailOn != "" && p.FailOn.Rank() == 0 {
		return fmt.Errorf("check policy: fail-on %q is none of critical, warning, info", p.FailOn)
	}
	for _, pattern := range p.Ignore {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("check policy: ignore %q: %w", pattern, err)
		}
	}
	return nil
}

// Weigh gives findings that were made without a rule the severity that the policy
// wants, and drops those on subjects that it ignores.
func (p *Policy) Weigh(findings []snapshot.Finding) []snapshot.Finding {
	var out []snapshot.Finding
	for _, f := range findings {
		if o, ok := p.Rules[f.Code]; ok && o.Severity != nil {
			f.Severity = *o.Severity
		}
		if f.Severity != snapshot.Off && !p.ignored(snapshot.Key{Kind: f.Subject.Kind, ID: f.Subject.ID}) {
			out = append(out, f)
		}
	}
	return out
}

// Fails reports whether a finding makes the verdict "regressed".
func (p *Policy) Fails(f snapshot.Finding) bool { return f.Severity.Rank() >= p.failRank() }

func (p *Policy) failRank() int {
	if p.FailOn == "" {
		return snapshot.Critical.Rank()
	}
	return p.FailOn.Rank()
}

func (p *Policy) ignored(k snapshot.Key) bool {
	return slices.ContainsFunc(p.Ignore, func(pattern string) bool {
		ok, err := path.Match(pattern, k.String())
		return err == nil && ok
	})
}

// weighs reports whether the administrator gave a rule a severity.
func (p *Policy) weighs(code string) bool {
	o, ok := p.Rules[code]
	return ok && o.Severity != nil
}

// apply is the rule as the policy wants it.
func (p *Policy) apply(r snapshot.Rule) snapshot.Rule {
	o, ok := p.Rules[r.Code]
	if !ok {
		return r
	}
	if o.Severity != nil {
		r.Severity = *o.Severity
	}
	if o.Ratio != nil {
		r.Ratio = *o.Ratio
	}
	if o.Floor != nil {
		r.Floor = *o.Floor
	}
	if o.Share != nil {
		r.Share = *o.Share
	}
	return r
}
