package boot

import (
	"context"
	"fmt"
	"slices"

	"lastgood/internal/sysfs"
)

// Ways in which a boot ended.
const (
	EndClean   = "clean"     // somebody or something asked for it, and it was written down
	EndNone    = "no record" // a crash, a power cut or a watchdog
	EndUnknown = ""          // could not be told
)

// Past is one boot before this one.
type Past struct {
	ID      string  // boot id without hyphens; "" where only wtmp knows of it
	Release string  // kernel; "" where not known
	Seconds float64 // uptime at its last record, by the monotonic clock; 0 where not known
	Ended   string  // one of the End words
	How     string  // reboot, poweroff, halt, kexec; "" where not known
	// By is what the records say about who asked for its end, the most telling first.
	By []string
	// sequence is the journal's number of its last record, in the series that chain names.
	sequence uint64
	chain    string
}

// History is what this host remembers of the boots before this one.
type History struct {
	// Boots are oldest first, by the journal's own sequence and never by the clock.
	Boots []Past
	// Records is how many boots wtmp holds, this one among them; -1 where it cannot be told.
	Records int
	// Crashes are records of panics that pstore kept, Watchdogs those that reset the machine.
	Crashes   []string
	Watchdogs []string
	// Gaps say what could not be read, a sentence each.
	Gaps []string
}

// Previous is the boot before this one, or nil.
func (h *History) Previous() *Past {
	if len(h.Boots) == 0 {
		return nil
	}
	return &h.Boots[len(h.Boots)-1]
}

// After lists the boots after the one of that id; ok is false where it is not known.
func (h *History) After(id string) (after []Past, ok bool) {
	i := slices.IndexFunc(h.Boots, func(p Past) bool { return p.ID != "" && p.ID == plainID(id) })
	if i < 0 {
		return nil, false
	}
	return h.Boots[i+1:], true
}

// ReadHistory reads the journal, wtmp, pstore and the watchdogs. It always returns; what could
// not be read is in Gaps.
func ReadHistory(ctx context.Context, root *sysfs.Root, run Runner, current string) History {
	h := History{Records: -1}
	var err error
	if h.Boots, err = journalBoots(ctx, run, current); err != nil {
		h.Gaps = append(h.Gaps, fmt.Sprintf("boots in the journal: %v", err))
	}
	records, err := readWtmp(ctx, root)
	switch {
	case err == nil:
		h.merge(records)
	case sysfs.Absent(err):
		h.Gaps = append(h.Gaps, "boots in wtmp: there is no /var/log/wtmp")
	default:
		h.Gaps = append(h.Gaps, fmt.Sprintf("boots in wtmp: %v", err))
	}
	if h.Crashes, err = readPstore(ctx, root); err != nil {
		h.Gaps = append(h.Gaps, fmt.Sprintf("records of panics: %v", err))
	}
	if h.Watchdogs, err = readWatchdogs(ctx, root); err != nil {
		h.Gaps = append(h.Gaps, fmt.Sprintf("watchdogs: %v", err))
	}
	return h
}

// merge adds what wtmp knows. Where the journal gave no boots wtmp's stand alone, without ids.
// Where it did, only the last one's end is taken from wtmp, and only if both name one kernel:
// either may lack a boot that died early.
func (h *History) merge(w wtmpLog) {
	h.Records = len(w.boots)
	if len(w.boots) < 2 {
		return
	}
	past := w.boots[:len(w.boots)-1] // the last is this one
	if len(h.Boots) == 0 {
		for _, b := range past {
			h.Boots = append(h.Boots, b.past())
		}
		return
	}
	last, from := h.Previous(), past[len(past)-1].past()
	if last.Release == "" || last.Release != from.Release {
		return
	}
	if last.Ended != EndClean && from.Ended == EndClean {
		last.Ended, last.How = from.Ended, from.How
		last.By = append(last.By, from.By...)
	}
}
