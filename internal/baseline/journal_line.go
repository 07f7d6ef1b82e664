package baseline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"time"
)

// What a line of the journal says. Those of another version are passed over.
const (
	opBegin  = "begin"
	opEnd    = "end"    // the group ran to its end on this build
	opKilled = "killed" // its process was killed in this boot
	opClear  = "clear"  // a person wants it run again
)

// entry is a line of the journal.
type entry struct {
	Op    string    `json:"op"`
	Group string    `json:"group"`
	Boot  string    `json:"boot"`
	Build string    `json:"build,omitempty"`
	Time  time.Time `json:"time"`
}

const crcDigits = 8

// encodeJournal writes a line for each entry: the CRC-32C of its JSON, a blank,
// the JSON. Every line proves itself, so that one that was cut off by a power
// cut, or one that is damaged, costs no other.
func encodeJournal(entries []entry) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	var b bytes.Buffer
	for _, e := range entries {
		e.Time = e.Time.UTC().Truncate(time.Second)
		j, err := json.Marshal(e)
		if err != nil { // a clock beyond year 9999 is the only way here
			e.Time = time.Time{}
			j, _ = json.Marshal(e)
		}
		fmt.Fprintf(&b, "%08x %s\n", crc32.Checksum(j, table), j)
	}
	return b.Bytes()
}

// parseJournal reads a journal. Cut is true where it ends in a piece of a line:
// that was being written when the power went, so what it announces never ran.
// Bad counts the lines that are not what was written.
func parseJournal(b []byte) (entries []entry, cut bool, bad int) {
	for line := range bytes.Lines(b) {
		text, whole := bytes.CutSuffix(line, []byte{'\n'})
		e, ok := parseLine(text)
		switch {
		case !whole:
			cut = true
		case !ok:
			bad++
		default:
			entries = append(entries, e)
		}
	}
	return entries, cut, bad
}

func parseLine(line []byte) (entry, bool) {
	var e entry
	if len(line) <= crcDigits || line[crcDigits] != ' ' {
		return e, false
	}
	crc, err := strconv.ParseUint(string(line[:crcDigits]), 16, 32)
	j := line[crcDigits+1:]
	if err != nil || crc32.Checksum(j, crc32.MakeTable(crc32.Castagnoli)) != uint32(crc) {
		return e, false
	}
	if err := json.Unmarshal(j, &e); err != nil || e.Group == "" {
		return e, false
	}
	return e, true
}

// replay is the notes that are open after the lines of a journal.
func replay(lines []entry) []entry {
	var notes []entry
	for _, e := range lines {
		notes = apply(notes, e)
	}
	return notes
}

// apply is the open notes after one more line.
func apply(notes []entry, e entry) []entry {
	gone := func(entry) bool { return false }
	switch e.Op {
	case opBegin:
		// A note of another boot stays: should this run be killed, nothing was proved.
		gone = func(n entry) bool { return n.Boot == e.Boot && n.Build == e.Build }
	case opEnd:
		gone = func(n entry) bool { return n.Build == e.Build || n.Build == "" }
	case opKilled:
		gone = func(n entry) bool { return n.Boot == e.Boot }
	case opClear:
		gone = func(n entry) bool {
			underWay := n.Boot == e.Boot && n.Group != AnyGroup
			return !underWay && mayBeSameBuild(n.Build, e.Build)
		}
	}
	notes = slices.DeleteFunc(notes, func(n entry) bool { return n.Group == e.Group && gone(n) })
	if e.Op == opBegin {
		notes = append(notes, e)
	}
	return notes
}

// mayBeSameBuild reports whether two kernels are one build, for all that is known.
func mayBeSameBuild(a, b string) bool { return a == b || a == "" || b == "" }
