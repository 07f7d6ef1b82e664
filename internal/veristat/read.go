// Package veristat reads the CSV of veristat (libbpf/veristat, and tools/testing/selftests/bpf
// of the kernel), which `lastgood probe -o csv` writes too, into snapshots, so that the
// same rules judge them.
package veristat

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// Bounds of what is read.
const (
	maxBytes    = 1 << 30
	maxLines    = 10_000_000
	maxPrograms = 1_000_000 // they are held in memory, about a KiB each
	maxLine     = 64 << 10  // veristat's own reader takes 4 KiB
)

// programKind is the kind of the subjects, which probes declares.
const programKind = "bpf.program"

// column is what one column says of a program.
type column struct {
	names []string // as veristat knows them (stat_defs in veristat.c)
	attr  string   // "" for what no rule or table has a place for
	read  func(string) (snapshot.Value, error)
	// walk tells a counter of the walk, which says nothing where there was none.
	walk bool
}

// Columns that are more than an attribute.
const (
	fileColumn    = "file_name"
	programColumn = "prog_name"
	verdictColumn = "verdict"
	insnsColumn   = "total_insns"
	jitedColumn   = "prog_size_jited"
)

var columns = []column{
	{names: []string{fileColumn, "filename", "file"}},
	{names: []string{programColumn, "progname", "prog"}},
	{names: []string{verdictColumn}, attr: "verdict", read: readVerdict},
	{names: []string{"duration", "dur"}, attr: "verification_seconds", read: readMicroseconds, walk: true},
	{names: []string{insnsColumn, "insns"}, attr: "insns_processed", read: readCount, walk: true},
	{names: []string{"total_states", "states"}, attr: "total_states", read: readCount, walk: true},
	{names: []string{"peak_states"}, attr: "peak_states", read: readCount, walk: true},
	{names: []string{"max_states_per_insn"}, attr: "max_states_per_insn", read: readCount, walk: true},
	{names: []string{"max_mark_read_len", "mark_read"}, attr: "mark_read", read: readCount, walk: true},
	{names: []string{"prog_size"}, attr: "insns", read: readCount},
	{names: []string{jitedColumn}, attr: "jited_bytes", read: readCount},
	{names: []string{"prog_type"}, attr: "prog_type", read: readText},
	{names: []string{"stack_depth", "stack"}, attr: "stack_depth", read: readCount, walk: true},
}

// IsCSV reports whether the beginning of a file, which may be all of it, is such a CSV:
// its first line names a program's column.
func IsCSV(head []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimPrefix(head, bom), []byte("\n"))
	if b := bytes.TrimLeft(line, " \t\r"); len(b) == 0 || b[0] == '{' || !utf8.Valid(line) {
		return false
	}
	_, err := parseHeader(string(line))
	return err == nil
}

// bom is what some editors put before a text.
var bom = []byte("\xef\xbb\xbf")

// ReadFile reads a file as Read does.
func ReadFile(name string) (*snapshot.Snapshot, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read CSV: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxBytes {
		return nil, fmt.Errorf("read %s: %d MiB, and no more than %d are read", name, info.Size()>>20, maxBytes>>20)
	}
	s, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return s, nil
}

// Read reads a CSV whose first line names its columns, in any order; those that are not
// known are passed over. A program's subject is FILE/PROGRAM, the file by its base name,
// as veristat joins them. The error names the line.
//
// The snapshot has no identity, for the format has no place for one. Nor has it one for
// "not known": veristat writes 0 then, so a walk of no insns is taken for none. Nor does a
// source vouch for the programs: whether one that is not there is gone, or could not be
// measured, the file does not say.
func Read(r io.Reader) (*snapshot.Snapshot, error) {
	p := parser{at: map[string]int{}}
	p.snap = &snapshot.Snapshot{Schema: snapshot.Schema, Tool: "veristat CSV"}
	limited := &io.LimitedReader{R: r, N: maxBytes + 1}
	sc := bufio.NewScanner(limited)
	sc.Buffer(make([]byte, 0, 16<<10), maxLine)
	for sc.Scan() {
		p.line++
		if err := p.read(sc.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	switch err := sc.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: it is longer than %d KiB", p.line+1, maxLine>>10)
	case err != nil:
		return nil, err
	case limited.N <= 0:
		return nil, fmt.Errorf("line %d: more than %d MiB", p.line, maxBytes>>20)
	case p.header == nil:
		return nil, errors.New("it is empty: the first line must name the columns")
	case len(p.at) == 0:
		return nil, errors.New("it has no programs")
	}
	return p.snap, p.snap.Sort()
}

type parser struct {
	snap   *snapshot.Snapshot
	header *header
	line   int
	at     map[string]int // line of each program
}

// header says which column stands where, nil for one that is not known.
type header struct {
	columns             []*column
	file, prog, verdict int
}

func parseHeader(line string) (*header, error) {
	h := &header{file: -1, prog: -1, verdict: -1}
	for i, name := range strings.Split(strings.TrimRight(line, "\r"), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		at := slices.IndexFunc(columns, func(c column) bool { return slices.Contains(c.names, name) })
		if at < 0 {
			h.columns = append(h.columns, nil)
			continue
		}
		c := &columns[at]
		if slices.Contains(h.columns, c) {
			return nil, fmt.Errorf("column %q is there twice", name)
		}
		h.columns = append(h.columns, c)
		switch c.names[0] {
		case fileColumn:
			h.file = i
		case programColumn:
			h.prog = i
		case verdictColumn:
			h.verdict = i
		}
	}
	for _, need := range []struct {
		at   int
		name string
	}{{h.file, fileColumn}, {h.prog, programColumn}, {h.verdict, verdictColumn}} {
		if need.at < 0 && strings.Contains(line, "verdict_base") {
			return nil, errors.New("it is veristat's comparison of two files: give the two themselves")
		}
		if need.at < 0 {
			return nil, fmt.Errorf("there is no column %s", need.name)
		}
	}
	return h, nil
}

func (p *parser) read(line string) (err error) {
	if p.line > maxLines {
		return fmt.Errorf("more than %d lines", maxLines)
	}
	if p.line == 1 {
		line = strings.TrimPrefix(line, string(bom))
	}
	if strings.TrimSpace(line) == "" {
		return nil
	}
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return errors.New("it is no text")
	}
	if p.header == nil {
		p.header, err = parseHeader(line)
		return err
	}
	return p.row(strings.Split(strings.TrimRight(line, "\r"), ","))
}

func (p *parser) row(fields []string) error {
	h := p.header
	if len(fields) != len(h.columns) {
		return fmt.Errorf("%d fields, and the first line names %d columns", len(fields), len(h.columns))
	}
	file, prog := path.Base(strings.TrimSpace(fields[h.file])), strings.TrimSpace(fields[h.prog])
	if strings.TrimSpace(fields[h.file]) == "" || prog == "" {
		return errors.New("it names no file or no program")
	}
	sub := snapshot.Subject{Kind: programKind, ID: file + "/" + prog, Label: prog + " of " + file, Outcome: snapshot.Measured}
	if first, seen := p.at[sub.ID]; seen {
		return fmt.Errorf("%s is on line %d already: objects of one base name cannot be told apart", sub.ID, first)
	}
	if len(p.at) == maxPrograms {
		return fmt.Errorf("more than %d programs", maxPrograms)
	}
	p.at[sub.ID] = p.line
	sub.Set("object", snapshot.Text(file))
	sub.Set("name", snapshot.Text(prog))
	for i, c := range h.columns {
		if c == nil || c.read == nil {
			continue
		}
		v, err := c.read(strings.TrimSpace(fields[i]))
		if err != nil {
			return fmt.Errorf("column %s: %w", c.names[0], err)
		}
		sub.Attrs.Set(c.attr, v)
	}
	settle(&sub)
	p.snap.Subjects = append(p.snap.Subjects, sub)
	return nil
}

// settle takes away zeros that stand for "not known": an accepted program has at least
// one insn to walk, and one that was not walked failed before the verifier. Machine code
// of no bytes is what is written for a program that was refused, too.
func settle(s *snapshot.Subject) {
	if n, ok := s.Attrs["insns_processed"].Number(); ok && n == 0 {
		for i := range columns {
			if columns[i].walk {
				delete(s.Attrs, columns[i].attr)
			}
		}
	}
	for _, attr := range []string{"jited_bytes", "insns"} {
		if n, ok := s.Attrs[attr].Number(); ok && n == 0 {
			delete(s.Attrs, attr)
		}
	}
}

func readVerdict(s string) (snapshot.Value, error) {
	switch s {
	case "success":
		return snapshot.Text("accepted"), nil
	case "failure":
		return snapshot.Text("rejected"), nil
	}
	return snapshot.Value{}, fmt.Errorf("%.40q is neither success nor failure", s)
}

// unknown are the words for a value that is not known, "" among them.
var unknown = []string{"", "N/A", "-", "-1"}

func readCount(s string) (snapshot.Value, error) {
	if slices.Contains(unknown, s) {
		return snapshot.Value{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return snapshot.Value{}, fmt.Errorf("%.40q is no count", s)
	}
	return snapshot.Int(n), nil
}

func readMicroseconds(s string) (snapshot.Value, error) {
	v, err := readCount(s)
	n, ok := v.Number()
	if err != nil || !ok {
		return snapshot.Value{}, err
	}
	return snapshot.Float(n / 1e6), nil
}

func readText(s string) (snapshot.Value, error) {
	if slices.Contains(unknown, s) || s == "unspec" {
		return snapshot.Value{}, nil
	}
	return snapshot.Text(s), nil
}
