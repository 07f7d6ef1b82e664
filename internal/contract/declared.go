package contract

import (
	"context"
	"errors"
	"fmt"
	"os"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// CheckKind is the kind of declared checks.
const CheckKind = "contract.check"

// DeclaredSource is the name of the source that tries them.
const DeclaredSource = "declared"

// NotMet is the code of the finding on a check that does not hold and is not known to have held at the last good boot.
const NotMet = "contract-not-met"

var declaredSource = catalogue.Add(source.Source{
	Name: DeclaredSource,
	Doc: `what must hold on this host, by /etc/lastgood/contract.d

Tries every check of the contracts that are for this host once, side by side. The assessment of a boot and "lastgood contract check
--wait" try them until their time is over.`,
	Kinds: []snapshot.Kind{checkDeclared},
	Tier:  source.Native,
	Read:  readDeclared,
})

// checkDeclared is the kind of declared checks. A required one that is not met fails the boot, whether or not it was met at
// the last good one: that is what required says. What was met before is said so, for only a regression may roll back.
var checkDeclared = snapshot.Kind{
	Name:     CheckKind,
	Doc:      "a check of the declared contract, known by its id.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "state", Order: []string{"pass", "fail"}, Doc: "pass, or fail where it is not met"},
		{Name: "severity", Doc: "required, wanted or info"},
		{Name: "contract", Doc: "contract that it stands in"},
		{Name: "check", Doc: "kinds of checks that it makes"},
		{Name: "on_regression", Doc: "the most that may be done where it held at the last good boot and does not now: rollback, hold, notify"},
		{Name: "same_as_baseline", Doc: "yes where all that it found at the last good boot must be there"},
		{Name: "observed", Better: snapshot.HigherBetter, Doc: "what it found, by stable names"},
		{Name: "why", Noise: snapshot.Evidence, Doc: "why it is not met"},
		{Name: "took_seconds", Unit: snapshot.Seconds, Noise: snapshot.Sampled, Doc: "how long one try took"},
	},
	Rules: checkRules(),
}

func checkRules() []snapshot.Rule {
	var rules []snapshot.Rule
	for _, s := range []struct {
		severity string
		weight   snapshot.Severity
	}{{Required, snapshot.Critical}, {Wanted, snapshot.Warning}, {Info, snapshot.Info}} {
		where := map[string]string{"severity": s.severity}
		rules = append(rules,
			// First, for of two findings of one weight the first is kept.
			snapshot.Rule{Code: "contract-broken", On: snapshot.OnBecomes, Attr: "state", From: []string{"pass"}, To: []string{"fail"}, Where: where, Severity: s.weight, Class: snapshot.ClassService,
				Message: s.severity + " check {name} is not met, was at the last good boot: {attr:why}"},
			snapshot.Rule{Code: NotMet, On: snapshot.OnIs, Attr: "state", To: []string{"fail"}, Where: where, Severity: s.weight, Class: snapshot.ClassService,
				Message: s.severity + " check {name} is not met: {attr:why}"},
			snapshot.Rule{Code: "contract-less", On: snapshot.OnWorse, Attr: "observed", Where: map[string]string{"severity": s.severity, "same_as_baseline": "yes"}, Topic: "state", Severity: s.weight, Class: snapshot.ClassService,
				Message: s.severity + " check {name} lacks what was there at the last good boot: {lost}"})
	}
	return append(rules, snapshot.Rule{Code: "contract-check-gone", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "check {name} is gone from the contract"})
}

func readDeclared(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	if !h.Root.Live() {
		return nil, errNotLive
	}
	ours, err := declaredHere(ctx, h)
	self, errSelf := os.Executable()
	if errSelf != nil {
		self = "" // said where a check needs it
	}
	r := Runner{Host: h, Self: self}
	return declaredSubjects(r.Once(ctx, ours), err)
}

// declaredSubjects are the results as subjects, with what could not be told of them.
func declaredSubjects(results []Result, err error) ([]snapshot.Subject, error) {
	var out []snapshot.Subject
	errs := []error{err}
	for _, res := range results {
		out = append(out, res.Subject())
		if res.Severity == Required && (res.State == Unknown || res.State == Pending) {
			errs = append(errs, fmt.Errorf("required check %s: %s", res.ID, res.Why))
		}
	}
	return out, errors.Join(errs...)
}

// Subject is the result as the judge, reports and JSON carry it. What could not be told, or is not due yet, is inconclusive.
func (res *Result) Subject() snapshot.Subject {
	s := snapshot.Subject{Kind: CheckKind, ID: res.ID, Outcome: snapshot.Measured}
	s.Set("severity", snapshot.Text(res.Severity))
	s.Set("contract", snapshot.Text(res.Contract))
	s.Set("check", snapshot.Text(res.Types))
	s.Set("on_regression", snapshot.Text(res.OnRegression))
	s.Set("same_as_baseline", yesNo(res.SameAs))
	s.Set("took_seconds", snapshot.Float(res.Took.Seconds()))
	if res.State == Pending || res.State == Unknown {
		s.Outcome, s.Reason = snapshot.Inconclusive, res.Why
		return s
	}
	s.Set("state", snapshot.Text(res.State))
	if len(res.Observed) > 0 || res.SameAs {
		s.Set("observed", snapshot.List(res.Observed...))
	}
	if res.Why != "" {
		s.Set("why", snapshot.Text(res.Why))
	}
	return s
}

// Observed is what the checks of a snapshot found, by id, for a Runner's Baseline.
func Observed(snap *snapshot.Snapshot) map[string][]string {
	out := map[string][]string{}
	for i := range snap.Subjects {
		s := &snap.Subjects[i]
		if items, ok := s.Attrs["observed"].Items(); s.Kind == CheckKind && ok {
			out[s.ID] = items
		}
	}
	return out
}
