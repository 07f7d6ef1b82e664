package snapshot

// Change says how a subject or an attribute differs between two snapshots.
type Change string

const (
	Added    Change = "added"
	Removed  Change = "removed" // its source looked and says it is gone
	Changed  Change = "changed"
	Lost     Change = "lost"     // it was measured and could not be measured now: not the same as removed
	Regained Change = "regained" // it could not be measured and is measured now
)

// Delta is one difference between two snapshots, without any opinion on it. Attr
// is empty where the whole subject is meant.
type Delta struct {
	Key    Key
	Attr   string
	Old    Value
	New    Value
	Change Change
}

// Severity says how much a finding matters.
type Severity string

const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Info     Severity = "info"
	Off      Severity = "off" // a rule turned off by the configuration
)

// Rank orders severities, worst highest.
func (s Severity) Rank() int {
	switch s {
	case Critical:
		return 3
	case Warning:
		return 2
	case Info:
		return 1
	}
	return 0
}

// Class says what a finding is attributed to.
type Class string

const (
	ClassKernel   Class = "kernel"
	ClassConfig   Class = "config"
	ClassObject   Class = "object"
	ClassHardware Class = "hardware"
	ClassService  Class = "service"
	ClassTool     Class = "tool"
	// ClassIdentity is a change that must not be: exact counters moved although
	// the kernel says that it is the same one.
	ClassIdentity Class = "identity"
)

// SubjectRef names a finding's subject for people and machines.
type SubjectRef struct {
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	Label string `json:"label,omitempty"`
}

// Finding is a difference that matters.
type Finding struct {
	Code     string     `json:"code"`
	Severity Severity   `json:"severity"`
	Class    Class      `json:"class"`
	Subject  SubjectRef `json:"subject"`
	Attr     string     `json:"attr,omitempty"`
	Old      *Value     `json:"old,omitempty"`
	New      *Value     `json:"new,omitempty"`
	Message  string     `json:"message"`
	Hint     string     `json:"hint,omitempty"`
	Evidence string     `json:"evidence,omitempty"`
	// Behind are the subjects that this finding explains: the disks behind a
	// controller that is gone. They have no findings of their own.
	Behind []SubjectRef `json:"behind,omitempty"`
}

// Gap is something that could not be measured, or was not tried.
type Gap struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Label  string `json:"label,omitempty"`
	Reason string `json:"reason"`
	// Counts is true where the gap keeps the verdict from being good: it was
	// measured at the last good boot and is of a kind that must be.
	Counts bool `json:"counts,omitempty"`
}

// Verdict is the answer to "did this box come back the same way it went down?".
type Verdict string

const (
	Good       Verdict = "good"
	Regressed  Verdict = "regressed"
	Incomplete Verdict = "incomplete" // could not be measured; never taken for a regression
	Invalid    Verdict = "invalid"    // not the kernel or architecture that was meant
	Learned    Verdict = "learned"    // nothing to compare with yet
)

// ExitStatus is the process status that stands for the verdict.
func (v Verdict) ExitStatus() int {
	switch v {
	case Good, Learned:
		return 0
	case Regressed:
		return 1
	case Incomplete:
		return 3
	case Invalid:
		return 4
	}
	return 2
}
