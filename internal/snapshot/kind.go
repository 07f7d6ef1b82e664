package snapshot

import (
	"fmt"
	"slices"
)

// Unit is what an attribute's number counts. Values are in base units.
type Unit string

const (
	NoUnit  Unit = ""
	Insns   Unit = "insns"
	States  Unit = "states"
	Bytes   Unit = "bytes"
	Seconds Unit = "seconds"
	Celsius Unit = "celsius"
	Count   Unit = "count"
	Bits    Unit = "bits_per_second"
	RPM     Unit = "rpm"
	Volts   Unit = "volts"
	Percent Unit = "percent"
)

// Better says which direction is an improvement.
type Better string

const (
	NeitherBetter Better = ""
	LowerBetter   Better = "lower"
	HigherBetter  Better = "higher"
)

// Noise says how an attribute may be compared.
type Noise string

const (
	// Exact values are the same from reading to reading: any change is real.
	Exact Noise = ""
	// Sampled values (times) vary from reading to reading; one reading proves nothing.
	Sampled Noise = "sampled"
	// Ambient values (temperatures, fan speeds) follow the surroundings.
	Ambient Noise = "ambient"
	// Evidence is kept to explain a finding and is never compared: log tails, raw lines, paths.
	Evidence Noise = "evidence"
)

// Attr declares one attribute of a Kind.
type Attr struct {
	Name   string
	Unit   Unit
	Better Better
	Noise  Noise
	// Order lists a text attribute's values from best to worst, where they have an order.
	Order []string
	// LimitAttr names the attribute that bears this one's limit; Limit is a fixed one. Zero values: none.
	LimitAttr string
	Limit     float64
	// SpreadAttr names the attribute that says how far the samples of a sampled one lay
	// apart. With it OnGrowth may judge it: a growth within both sides' spreads is noise.
	SpreadAttr string
	// Cumulative numbers only grow, from the boot, the driver's start or the thing's first day
	// on, and fall where that begins anew: a growth over time may be taken from them. What a
	// number of several things that come and go says, or one that is cut off, is none.
	Cumulative bool
	// Ref attributes are the keys of other subjects, one or a set. Where such a subject is
	// known by another ID now, the older snapshot's are compared under that one.
	Ref bool
	Doc string
}

// Kind declares a class of subjects: what is known about their attributes, and
// which changes matter by default.
type Kind struct {
	Name string // dotted, singular, for ever: "bpf.probe"
	Doc  string
	// Required kinds make a verdict incomplete when one of their subjects was
	// measured at the last good boot and could not be measured now.
	Required bool
	// Foreign kinds are of things that belong to others and may be another version at any
	// time: what changed where the kernel did not is put down to them, and says nothing
	// of the kernel.
	Foreign bool
	// AliasAttr names the attribute that bears all that a subject can be known by, a
	// set of "scheme:value", of which its ID is one. A kernel may show fewer or others
	// of them than the last: a subject that is missing by its ID and one that is new are
	// the same where an alias that nobody else bears says so.
	AliasAttr string
	// WeakAliases are schemes of aliases that another subject may come to bear: the
	// place, what is stored on a disk. They join no two that differ in what a stronger
	// scheme says of both.
	WeakAliases []string
	// NamesAttr names the attribute that bears the name of something else: the subjects
	// that are named by {users} in the message about that one's name.
	NamesAttr string
	Attrs     []Attr
	Rules     []Rule
}

// Attr is the declaration of the attribute of that name.
func (k *Kind) Attr(name string) (Attr, bool) {
	i := slices.IndexFunc(k.Attrs, func(a Attr) bool { return a.Name == name })
	if i < 0 {
		return Attr{}, false
	}
	return k.Attrs[i], true
}

// Trigger is the kind of change that a Rule looks for.
type Trigger string

const (
	OnMissing Trigger = "missing" // the subject was there and its source says it is gone
	OnNew     Trigger = "new"     // the subject was not there
	// OnBecomes fires when Attr goes from a value in From to one in To.
	OnBecomes Trigger = "becomes"
	// OnIs fires where Attr has a value in To now, whether or not it had it before: what an
	// administrator wrote down as a must is one also where it was broken at the last good boot.
	OnIs Trigger = "is"
	// OnChanged fires on any change of Attr, OnWorse and OnBetter on one in that
	// direction by Attr.Better or Attr.Order; for sets, OnWorse is a lost member
	// and OnBetter a gained one, or the other way about where Attr.Better is lower.
	// OnWorse of a number with a Share fires where it changed by that share of the old
	// value or more.
	OnChanged Trigger = "changed"
	OnWorse   Trigger = "worse"
	OnBetter  Trigger = "better"
	// OnGrowth fires when Attr grew to Ratio times the old value or more, by Floor or more;
	// of a sampled one that has a SpreadAttr, when it also grew by more than both spreads
	// together, and only from one kernel build or configuration to another.
	OnGrowth Trigger = "growth"
	// OnHeadroom fires when less than Share of the limit is left and more was left before.
	OnHeadroom Trigger = "headroom"
	// OnAbove fires when Attr is above its limit now and was not before. The limit is
	// what the subject bears in the rule's LimitAttr, or the attribute's own; where it
	// bears none, Floor.
	OnAbove Trigger = "above"
	// OnMoved fires when any exact number of the subject changed although both
	// snapshots come from one kernel build, configured alike. It names no Attr.
	OnMoved Trigger = "moved"
)

// Rule says which change of a Kind's subjects matters, and how much. It is data:
// the configuration may change any number in it by its Code.
type Rule struct {
	Code string // kebab-case, for ever
	On   Trigger
	Attr string
	// Where confines the rule to subjects whose attributes have these values now
	// (or had them, for what is missing).
	Where map[string]string
	// Unless drops the rule where one of these attributes changed too: a probe
	// whose own program changed cannot be compared.
	Unless   []string
	From, To []string
	Ratio    float64
	Floor    float64
	Share    float64
	// LimitAttr names the attribute with the limit of an OnAbove rule, in the place of
	// the one that Attr declares: a sensor has a limit to warn at and a critical one.
	LimitAttr string
	Severity  Severity
	// Class is what a finding is attributed to. A rule of ClassKernel speaks of a
	// counter or verdict of the kernel's: where the kernel did not change, the
	// finding is attributed to what did.
	Class Class
	// Cause says that such a finding explains what is missing beneath its subject, and what
	// else is a Symptom there; a subject that is gone always does. Of a Symptom there is no
	// finding of its own where something above its subject explains it.
	Cause, Symptom bool
	// Together names an attribute: the findings of one code on subjects that have one value
	// there are one finding, with the lesser ones behind the worst.
	Together string
	// Topic gathers rules that speak of one thing: of the findings on a subject and
	// a topic only the worst is reported. It is Attr where it is empty.
	Topic string
	// Message is a sentence for a person; {name} {attr} {old} {new} {ratio}
	// {limit} {left} {lost} {gained} {lost_count} {gained_count} stand for the
	// facts, {attr:NAME} for another attribute of the subject as it is now,
	// {was:NAME} as it was, {users} for what knew the subject by {old} (see Kind.NamesAttr).
	Message string
	Hint    string
}

// Kinds is a set of declarations by name.
type Kinds map[string]*Kind

// NewKinds gathers declarations and refuses a name declared twice, a rule
// without a code or of an attribute that its Kind does not declare.
func NewKinds(kinds ...Kind) (Kinds, error) {
	set := Kinds{}
	for _, k := range kinds {
		if k.Name == "" || k.Doc == "" {
			return nil, fmt.Errorf("declare kind %q: name or doc is empty", k.Name)
		}
		if set[k.Name] != nil {
			return nil, fmt.Errorf("declare kind %s: declared twice", k.Name)
		}
		if err := checkKind(&k); err != nil {
			return nil, fmt.Errorf("declare kind %s: %w", k.Name, err)
		}
		set[k.Name] = &k
	}
	return set, nil
}

func checkKind(k *Kind) error {
	seen := map[string]bool{}
	for _, a := range k.Attrs {
		if a.Name == "" || a.Doc == "" || seen[a.Name] {
			return fmt.Errorf("attribute %q: no name, no doc or declared twice", a.Name)
		}
		seen[a.Name] = true
	}
	for _, a := range k.Attrs {
		if a.Cumulative && (len(a.Order) > 0 || a.Better == HigherBetter) {
			return fmt.Errorf("attribute %s: what only grows has no order, and more of it is no improvement", a.Name)
		}
		if a.LimitAttr != "" && !seen[a.LimitAttr] {
			return fmt.Errorf("attribute %s: limit %s is not declared", a.Name, a.LimitAttr)
		}
		if a.SpreadAttr != "" && (!seen[a.SpreadAttr] || a.Noise != Sampled) {
			return fmt.Errorf("attribute %s: spread %s is not declared, or the attribute is not sampled", a.Name, a.SpreadAttr)
		}
	}
	if k.AliasAttr != "" && !seen[k.AliasAttr] {
		return fmt.Errorf("attribute %s of aliases is not declared", k.AliasAttr)
	}
	if k.NamesAttr != "" && !seen[k.NamesAttr] {
		return fmt.Errorf("attribute %s of names is not declared", k.NamesAttr)
	}
	for _, r := range k.Rules {
		if r.Together != "" && !seen[r.Together] {
			return fmt.Errorf("rule %s: attribute %s is not declared", r.Code, r.Together)
		}
		if r.LimitAttr != "" && !seen[r.LimitAttr] {
			return fmt.Errorf("rule %s: limit %s is not declared", r.Code, r.LimitAttr)
		}
		if r.Code == "" || r.Message == "" || r.Severity == "" || r.Class == "" {
			return fmt.Errorf("rule %q: code, message, severity or class is empty", r.Code)
		}
		if r.Attr == "" && (r.On == OnMissing || r.On == OnNew || r.On == OnMoved) {
			continue
		}
		if !seen[r.Attr] {
			return fmt.Errorf("rule %s: attribute %q is not declared", r.Code, r.Attr)
		}
	}
	return nil
}
