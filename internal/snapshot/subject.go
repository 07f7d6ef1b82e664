package snapshot

import (
	"cmp"
	"encoding/json"
)

// Outcome says how well a subject could be observed. It is never a judgement
// of what was seen: a program that the verifier refuses is measured.
type Outcome string

const (
	Measured     Outcome = "measured"     // read in full, or in part with the rest in Errs
	Unsupported  Outcome = "unsupported"  // this kernel or machine has no such thing
	Inconclusive Outcome = "inconclusive" // there, but could not be read: could not tell
	Skipped      Outcome = "skipped"      // not tried, by budget, guard or choice
)

// UnmarshalJSON reads an outcome; one that this version does not know is
// inconclusive, for it cannot be taken as measured.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	switch v := Outcome(s); v {
	case Measured, Unsupported, Inconclusive, Skipped:
		*o = v
	default:
		*o = Inconclusive
	}
	return nil
}

// Key names a subject across boots and kernels.
type Key struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

func (k Key) String() string { return k.Kind + "/" + k.ID }

// Compare orders keys by kind, then by ID.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Kind, o.Kind); c != 0 {
		return c
	}
	return cmp.Compare(k.ID, o.ID)
}

// Attrs are a subject's attributes by name. An attribute that could not be read
// is not here; it is in Errs.
type Attrs map[string]Value

// Set keeps v under name, unless it is no value.
func (a Attrs) Set(name string, v Value) {
	if !v.IsZero() {
		a[name] = v
	}
}

// Subject is one observed thing.
type Subject struct {
	Kind string `json:"kind"`
	// ID is stable across reboots and kernels: what the thing is, not what it is called today.
	ID string `json:"id"`
	// Label is what a person calls it.
	Label string `json:"label,omitempty"`
	// Parent is the key of what it hangs on, "kind/id": a missing parent explains a missing child.
	Parent  string  `json:"parent,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Reason says in a sentence why the outcome is not measured.
	Reason string            `json:"reason,omitempty"`
	Attrs  Attrs             `json:"attrs,omitempty"`
	Errs   map[string]string `json:"errs,omitempty"` // attribute → why it could not be read
}

// Key is the subject's name across snapshots.
func (s *Subject) Key() Key { return Key{s.Kind, s.ID} }

// Name is the label, or the ID where there is none.
func (s *Subject) Name() string {
	if s.Label != "" {
		return s.Label
	}
	return s.ID
}

// Fail keeps why attribute attr could not be read.
func (s *Subject) Fail(attr string, err error) {
	if s.Errs == nil {
		s.Errs = map[string]string{}
	}
	s.Errs[attr] = err.Error()
}

// Set keeps an attribute's value.
func (s *Subject) Set(attr string, v Value) {
	if s.Attrs == nil {
		s.Attrs = Attrs{}
	}
	s.Attrs.Set(attr, v)
}

// Text is the text of attribute attr, or "" where it has none.
func (s *Subject) Text(attr string) string {
	t, _ := s.Attrs[attr].Text()
	return t
}
