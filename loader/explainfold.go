package loader

import (
	"bytes"
	"slices"
	"strconv"
)

const (
	// logPrefix is as much of a line as the fold needs: `from N to N (speculative
	// execution): safe` is the longest line it reads to the end.
	logPrefix = 128
	// foldTail holds the statistics of 256 functions with the longest names.
	foldTail = minLogSize + 512*logPerFunction
)

// logFold counts in a verifier's log at level 2 how often each instruction was
// visited, line by line as the log comes and without keeping it.
//
// The verifier counts an instruction as processed, then looks whether it has been
// there in the same state, and only then lists it (do_check). So a visit is a
// line of one of the forms
//
//	N: (OP) ...                        visited
//	N: safe                            visited and pruned
//	from M to N: safe                  visited and pruned, the first of a path
//	from M to N (speculative execution): safe
//
// and nothing else is: `N: R0=...` is the state there, `from M to N: R0=...` opens
// a path that was set aside at M, `; text` is source. Since 7.x two passes before
// the walk list each function too, after `subprog#N NAME:` and `stack use/def
// subprog#N ...:`; a walk begins with the state at its first instruction.
type logFold struct {
	visits, pruned, paths []uint32 // per slot
	calls                 *callTree
	carry                 []byte // start of the line that the last piece broke off in
	tail                  []byte // end of the log
	bytes                 uint64
	listing               bool   // within a pass before the walk
	strange               uint64 // visits of instructions that the program does not have
}

// newLogFold folds the log of a program of so many slots, whose functions start at
// starts, ascending and with 0 first.
func newLogFold(slots int, starts []int) *logFold {
	return &logFold{
		visits: make([]uint32, slots), pruned: make([]uint32, slots), paths: make([]uint32, slots),
		calls: newCallTree(starts),
	}
}

// add takes the next piece of the log.
func (f *logFold) add(piece []byte) {
	f.bytes += uint64(len(piece))
	f.keepTail(piece)
	for len(piece) > 0 {
		line := piece
		end := bytes.IndexByte(piece, '\n')
		if end >= 0 {
			line, piece = piece[:end], piece[end+1:]
		}
		if len(f.carry) > 0 || end < 0 {
			room := logPrefix - len(f.carry)
			f.carry = append(f.carry, line[:min(len(line), room)]...)
			line = f.carry
		}
		if end < 0 {
			return
		}
		f.line(line)
		f.carry = f.carry[:0]
	}
}

// finish takes the last line, if it has no end.
func (f *logFold) finish() {
	if len(f.carry) > 0 {
		f.line(f.carry)
		f.carry = nil
	}
}

func (f *logFold) keepTail(piece []byte) {
	if len(piece) >= foldTail {
		f.tail = append(f.tail[:0], piece[len(piece)-foldTail:]...)
		return
	}
	if over := len(f.tail) + len(piece) - 2*foldTail; over > 0 {
		f.tail = append(f.tail[:0], f.tail[len(f.tail)-foldTail:]...)
	}
	f.tail = append(f.tail, piece...)
}

func (f *logFold) line(line []byte) {
	if len(line) == 0 {
		return
	}
	switch {
	case line[0] >= '0' && line[0] <= '9':
		f.listed(line)
	case bytes.HasPrefix(line, []byte("from ")):
		f.listing = false
		f.path(line[len("from "):])
	case bytes.HasPrefix(line, []byte("subprog#")), bytes.HasPrefix(line, []byte("stack use/def ")):
		f.listing = true
	case bytes.HasPrefix(line, []byte("Live regs ")), bytes.HasPrefix(line, []byte("Validating ")):
		f.listing = false
	}
}

// listed takes `N: (OP) ...` and `N: safe`.
func (f *logFold) listed(line []byte) {
	at, rest, ok := leadingNumber(line)
	if !ok || len(rest) < 6 || rest[0] != ':' || rest[1] != ' ' {
		return
	}
	rest = rest[2:]
	if rest[0] == 'R' || bytes.HasPrefix(rest, []byte("frame")) {
		f.listing = false // the state there
		return
	}
	if f.listing {
		return
	}
	if isSafe(rest) {
		f.visit(at, 0, true)
		return
	}
	if len(rest) < 4 || rest[0] != '(' || rest[3] != ')' {
		return
	}
	op, err := strconv.ParseUint(string(rest[1:3]), 16, 8)
	if err == nil {
		f.visit(at, byte(op), false)
	}
}

// path takes what stands behind `from `: a path that was set aside is gone on with.
func (f *logFold) path(rest []byte) {
	from, rest, ok := leadingNumber(rest)
	if !ok {
		return
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" to ")); !ok {
		return
	}
	to, rest, ok := leadingNumber(rest)
	if !ok {
		return
	}
	rest, _ = bytes.CutPrefix(rest, []byte(" (speculative execution)"))
	if rest, ok = bytes.CutPrefix(rest, []byte(":")); !ok || to >= len(f.visits) {
		return
	}
	f.paths[to]++
	f.calls.resume(from, to)
	if len(rest) > 0 && isSafe(rest[1:]) {
		f.visit(to, 0, true)
	}
}

// isSafe also takes what a later kernel may append to the word.
func isSafe(s []byte) bool {
	rest, ok := bytes.CutPrefix(s, []byte("safe"))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == ';')
}

func (f *logFold) visit(at int, op byte, safe bool) {
	if at >= len(f.visits) {
		f.strange++
		return
	}
	f.visits[at]++
	if safe {
		f.pruned[at]++
	}
	f.calls.visit(at, op)
}

// attributed is the number of visits of all instructions.
func (f *logFold) attributed() (n uint64) {
	for _, v := range f.visits {
		n += uint64(v)
	}
	return n
}

// leadingNumber parses the digits that b starts with, at most seven: no program
// has ten million instructions.
func leadingNumber(b []byte) (int, []byte, bool) {
	n, i := 0, 0
	for i < len(b) && i < 8 && b[i] >= '0' && b[i] <= '9' {
		n = n*10 + int(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0 && i < 8
}

// functionAt is the index of the function that slot at is in.
func functionAt(starts []int, at int) int {
	i, found := slices.BinarySearch(starts, at)
	if found {
		return i
	}
	return i - 1
}
