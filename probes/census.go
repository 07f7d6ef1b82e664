package probes

import (
	"fmt"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// Attributes of a bpf.feature subject.
const (
	featAvailable  = "available"
	featNotRefused = "helpers_not_refused"
	featUnclear    = "helpers_unclear"
	featEvidence   = "evidence"
	featUse        = "use"
)

// Values of the attribute use.
const (
	useCommon = "common"
	useSeldom = "seldom"
)

const featureKind = "bpf.feature"

// topicHelpers gathers the rules on the helpers of a program type.
const topicHelpers = "helpers"

// censusGroup is what the crash guard keeps the census by: it is one short burst
// of loads of a few instructions each, none near any limit.
const censusGroup = "census"

var census = catalogue.Add(source.Source{
	Name:  "census",
	Doc:   "BPF features of this kernel\n\nWhich program types, helpers, map types, attach types, instructions, BTF kinds and loader features the kernel takes, asked by trying each.",
	Kinds: []snapshot.Kind{featureDeclaration},
	Steps: func(source.Host) []source.Step { return newCensor(defaultBTF).steps() },
})

var featureDeclaration = snapshot.Kind{
	Name: featureKind,
	Doc: "One thing that a BPF program or its loader may ask of the kernel. A feature that the kernel does not have is measured: " +
		"the answer is no. A feature is inconclusive where the kernel's answer is neither yes nor no; the reason is its own line.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: featAvailable, Order: []string{"yes", "no"}, Doc: "whether the kernel takes it"},
		{Name: featNotRefused, Better: snapshot.HigherBetter, Doc: "helpers that programs of this type may call as far as the kernel says: all that it does not refuse to the type. " +
			"It said yes to those that are not in helpers_unclear as well. Not asked: " + notAskedList()},
		{Name: featUnclear, Better: snapshot.LowerBetter, Doc: "helpers that the kernel neither allowed nor refused when they were called the way feature probes of common loaders call them: " +
			"as the first instruction, with the context as the first argument"},
		{Name: featUse, Noise: snapshot.Evidence, Doc: "of a program type with helpers of its own, whether programs of it are common or seldom seen"},
		{Name: featEvidence, Noise: snapshot.Evidence, Doc: "what the kernel said, alike lines counted"},
	},
	Rules: []snapshot.Rule{{
		Code: "feature-lost", On: snapshot.OnBecomes, Attr: featAvailable, From: []string{"yes"}, To: []string{"no"},
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} is no longer available",
		Hint:    "programs and loaders that use it fail on this kernel; check the kernel configuration and lockdown, or hold this kernel back",
	}, {
		Code: "feature-gained", On: snapshot.OnBecomes, Attr: featAvailable, From: []string{"no"}, To: []string{"yes"},
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name} is available now",
	}, {
		Code: "helper-lost-seldom", On: snapshot.OnWorse, Attr: featNotRefused, Where: map[string]string{featUse: useSeldom}, Topic: topicHelpers,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name} may no longer call {lost}; programs of this type are seldom seen",
	}, {
		Code: "helper-lost", On: snapshot.OnWorse, Attr: featNotRefused, Where: map[string]string{featUse: useCommon}, Topic: topicHelpers,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} may no longer call {lost}",
		Hint:    "programs of this type that call it are rejected on this kernel; lockdown=confidentiality takes the bpf_probe_read helpers away",
	}, {
		Code: "helper-gained", On: snapshot.OnBetter, Attr: featNotRefused,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name} is not refused {gained} any longer",
	}, {
		Code: "helper-unclear", On: snapshot.OnWorse, Attr: featUnclear,
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "could not tell whether {name} may call {gained}: the kernel gives feature probes a new answer",
		Hint:    "loaders that probe for the helper may take this for a fault and refuse to start; see the evidence and try the agent on this kernel first",
	}},
}

// feature is one thing to ask the kernel for.
type feature struct {
	id, label string
	ask       func(*censor) told
}

// Costs on a slow machine: a load takes about 10 µs on a fast one.
const (
	featureCost = 100 * time.Microsecond
	helpersCost = 6 * time.Millisecond
)

// steps lists the census, one step for each subject, so that a step that is left
// out or dies costs exactly the subject that it names.
func (c *censor) steps() []source.Step {
	var out []source.Step
	for i := range progTypes {
		p := &progTypes[i]
		cost := featureCost
		if !p.noHelpers {
			cost = helpersCost
		}
		out = append(out, c.step(p.id(), cost, func() snapshot.Subject { return p.subject(c) }))
	}
	for _, f := range otherFeatures() {
		out = append(out, c.step(f.id, featureCost, func() snapshot.Subject { return f.subject(c) }))
	}
	return out
}

// otherFeatures lists everything but the program types.
func otherFeatures() []feature {
	var all []feature
	for _, family := range [][]feature{mapFeatures(), attachFeatures(), isaFeatures(), functionFeatures(), btfFeatures(), miscFeatures()} {
		all = append(all, family...)
	}
	return all
}

func (f *feature) subject(c *censor) snapshot.Subject {
	return answered(f.id, f.label, f.ask(c))
}

// answered makes a subject of an answer.
func answered(id, label string, t told) snapshot.Subject {
	s := snapshot.Subject{Kind: featureKind, ID: id, Label: label, Outcome: snapshot.Measured}
	switch t.answer {
	case yes, no:
		s.Set(featAvailable, snapshot.Text(t.answer.String()))
	default:
		s.Outcome = snapshot.Inconclusive
		s.Reason = fmt.Sprintf("could not tell: %s", t.line)
	}
	s.Set(featEvidence, snapshot.Text(t.line))
	return s
}
