package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"lastgood/internal/snapshot"
	"lastgood/internal/veristat"
)

// loadTwo reads the two sides of a comparison: snapshots, or two files in veristat's CSV,
// of which the notes say what they leave open.
func (s *session) loadTwo(ctx context.Context, nameA, nameB string) (a, b *snapshot.Snapshot, notes []string, err error) {
	csvA, csvB := isCSV(nameA), isCSV(nameB)
	if csvA != csvB {
		csv, other := nameA, nameB
		if csvB {
			csv, other = nameB, nameA
		}
		return nil, nil, nil, hinted(fmt.Errorf("%s is a CSV of programs and %s is not: they do not say enough of each other", csv, other),
			"compare two files of one format: both of `lastgood probe -o csv`, or both of `lastgood probe -o json`, which also says of which kernel it is")
	}
	read := func(name string) (*snapshot.Snapshot, error) { return s.load(ctx, name) }
	if csvA {
		read = veristat.ReadFile
		notes = append(notes, "the identity of both kernels is unknown, for a CSV names none: whether kernel, configuration, machine or objects changed cannot be told",
			"a CSV has no limits and no reasons: how far a program is from the limit, and why one was refused, cannot be told")
	}
	if a, err = read(nameA); err != nil {
		return nil, nil, nil, err
	}
	if b, err = read(nameB); err != nil {
		return nil, nil, nil, err
	}
	if gone := missing(a, b); csvA && len(gone) > 0 {
		notes = append(notes, fmt.Sprintf("%d of the programs of %s are not in %s, which does not say why: %s", len(gone), nameA, nameB, someOf(gone)))
	}
	return a, b, notes, nil
}

// missing are the subjects of a that b does not have.
func missing(a, b *snapshot.Snapshot) []string {
	var out []string
	for i := range a.Subjects {
		if b.Subject(a.Subjects[i].Key()) == nil {
			out = append(out, a.Subjects[i].ID)
		}
	}
	return out
}

// someOf lists names, not all of many.
func someOf(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// isCSV reports whether a word names a file in veristat's CSV, by its name or by its
// first line. What cannot be read is told by the one who reads it.
func isCSV(name string) bool {
	if strings.HasSuffix(name, ".csv") {
		return true
	}
	if !isFile(name) {
		return false
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false // a pipe would be read empty
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, _ := io.ReadFull(f, head)
	return veristat.IsCSV(head[:n])
}
