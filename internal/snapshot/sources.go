package snapshot

// SourceKind is the kind of the subjects that say how each source fared. They
// let a comparison tell "the disk is gone" from "the disks could not be read".
const SourceKind = "tool.source"

// Attributes of a tool.source subject.
const (
	SourceKinds    = "kinds"        // the kinds that the source vouches for
	SourceSubjects = "subjects"     // how many it found
	SourceTook     = "took_seconds" // how long it took
)

// Coverage says, for each kind, whether its sources were read in full.
type Coverage map[string]Outcome

// Coverage gathers what the snapshot's sources say of the kinds they vouch for.
// Where several vouch for one kind, all must have been read.
func (s *Snapshot) Coverage() Coverage {
	c := Coverage{}
	for i := range s.Subjects {
		sub := &s.Subjects[i]
		if sub.Kind != SourceKind {
			continue
		}
		kinds, _ := sub.Attrs[SourceKinds].Items()
		for _, k := range kinds {
			if old, seen := c[k]; !seen || old == Measured {
				c[k] = sub.Outcome
			}
		}
	}
	return c
}

// Vouched reports whether the absence of a subject of that kind means that the
// thing is gone, and not merely that nobody looked.
func (c Coverage) Vouched(kind string) bool {
	o, seen := c[kind]
	return seen && (o == Measured || o == Unsupported)
}
