package loader

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// programMap is what stands where in a program: its functions, source lines and
// loop heads. Slots are those of the program as it is handed over, which are the
// verifier's too until its listing is done.
type programMap struct {
	starts []int // first slot of each function, ascending, 0 first
	names  []string
	lines  []lineStart // ascending
	heads  []int       // slots that a jump backward leads to, ascending
	slots  int
}

type lineStart struct {
	slot int
	line *btf.Line
}

func newProgramMap(p *linkedProgram) *programMap {
	m := &programMap{slots: p.slots()}
	named := make(map[int]string)
	it := p.spec.Instructions.Iterate()
	for it.Next() {
		slot, ins := int(it.Offset), it.Ins
		if ins.Metadata == (asm.Metadata{}) {
			continue
		}
		fn := btf.FuncMetadata(ins)
		if fn != nil {
			m.starts = append(m.starts, slot)
		}
		if name := ins.Symbol(); name != "" {
			named[slot] = name
		} else if fn != nil {
			named[slot] = fn.Name
		}
		if line, ok := ins.Source().(*btf.Line); ok && line != nil {
			m.lines = append(m.lines, lineStart{slot, line})
		}
	}
	m.readCode(p.insns)
	m.starts = sorted(append(m.starts, 0))
	m.heads = sorted(m.heads)
	for i, slot := range m.starts {
		switch name := named[slot]; {
		case name != "":
			m.names = append(m.names, shorten(name, maxName))
		case slot == 0 && p.spec.Name != "":
			m.names = append(m.names, shorten(p.spec.Name, maxName))
		default:
			m.names = append(m.names, fmt.Sprintf("func#%d", i))
		}
	}
	return m
}

func sorted(s []int) []int {
	slices.Sort(s)
	return slices.Compact(s)
}

// readCode finds in the encoded program the functions that it calls or takes the
// address of, as the verifier does (add_subprog_and_kfunc), and the jumps backward.
func (m *programMap) readCode(insns []byte) {
	for slot := 0; slot < m.slots; slot++ {
		raw := insns[slot*insnSize:][:insnSize]
		op, src := raw[0], raw[1]>>4
		if nativeEndian == binary.BigEndian {
			src = raw[1] & 0xf
		}
		target := slot + 1
		near := int(int16(binary.NativeEndian.Uint16(raw[2:])))
		far := int(int32(binary.NativeEndian.Uint32(raw[4:])))
		wide := op == wideLoad
		switch {
		case wide && src == pseudoFunc, op == opCall && src == pseudoCall:
			if target += far; target > 0 && target < m.slots {
				m.starts = append(m.starts, target)
			}
		case op == opGoto:
			m.jump(slot, target+far)
		case (op&7 == 5 || op&7 == 6) && op != opCall && op != opExit:
			m.jump(slot, target+near)
		}
		if wide {
			slot++
		}
	}
}

const (
	wideLoad   = 0x18 // BPF_LD | BPF_DW | BPF_IMM, two slots
	pseudoCall = 1    // BPF_PSEUDO_CALL
	pseudoFunc = 4    // BPF_PSEUDO_FUNC
)

func (m *programMap) jump(from, to int) {
	if to >= 0 && to <= from {
		m.heads = append(m.heads, to)
	}
}

// explanation sums the fold up.
func (m *programMap) explanation(f *logFold, meas Measurement, limits Limits) Explanation {
	e := Explanation{Attributed: f.attributed(), LogBytes: f.bytes}
	e.Functions = m.functions(f, meas.Stats.PerSubprog)
	all := m.perLine(f)
	slices.SortStableFunc(all, func(a, b lineCount) int { return cmp.Compare(b.visits, a.visits) })
	for i, c := range all {
		if i >= limits.Lines {
			e.LinesLeftOut++
			e.InsnsLeftOut += c.visits
			continue
		}
		l := LineInsns{Function: m.names[c.fn], Insns: c.visits, Paths: c.paths, Pruned: c.pruned}
		if c.line != nil {
			l.File, l.Line = shortenPath(c.line.FileName()), c.line.LineNumber()
			l.Text = shorten(strings.TrimSpace(c.line.Line()), maxText)
		}
		e.Lines = append(e.Lines, l)
	}
	e.Loops = m.loops(f, limits.Loops)
	return e
}

// functions are the counts of the log, or the kernel's where it gives them: those
// it has for the callers of a function are better than what the log lets guess.
func (m *programMap) functions(f *logFold, stats []SubprogStats) []FunctionInsns {
	out := make([]FunctionInsns, len(m.starts))
	totals := f.calls.totals()
	for i, first := range m.starts {
		fn := FunctionInsns{Name: m.names[i], First: first, Total: totals[i]}
		end := m.slots
		if i+1 < len(m.starts) {
			end = m.starts[i+1]
		}
		for slot := first; slot < end; slot++ {
			fn.Self += uint64(f.visits[slot])
			fn.Paths += uint64(f.paths[slot])
			fn.Pruned += uint64(f.pruned[slot])
		}
		out[i] = fn
	}
	for _, s := range stats {
		// The kernel may have added functions of its own behind the program's.
		if s.Index >= 0 && s.Index < len(out) && out[s.Index].Self == s.InsnsSelf {
			out[s.Index].Linkage, out[s.Index].Total = shorten(s.Linkage, maxName), s.InsnsTotal
		}
	}
	return out
}

// lineCount is one source line of one function.
type lineCount struct {
	fn                    int
	line                  *btf.Line // nil: no line information
	visits, paths, pruned uint64
}

// perLine sums visits per function and line. A line stands for all instructions up
// to the next one, and comes back as often as the compiler moved code about.
func (m *programMap) perLine(f *logFold) []lineCount {
	var runs []lineCount
	fn, next := 0, 0
	run := lineCount{}
	flush := func() {
		if run.visits > 0 {
			runs = append(runs, run)
		}
		run = lineCount{fn: run.fn, line: run.line}
	}
	for slot := range f.visits {
		if fn+1 < len(m.starts) && slot == m.starts[fn+1] {
			flush()
			fn++
			run = lineCount{fn: fn}
		}
		if next < len(m.lines) && m.lines[next].slot == slot {
			flush()
			run.line = m.lines[next].line
			next++
		}
		run.visits += uint64(f.visits[slot])
		run.paths += uint64(f.paths[slot])
		run.pruned += uint64(f.pruned[slot])
	}
	flush()
	return mergeLines(runs)
}

func mergeLines(runs []lineCount) []lineCount {
	slices.SortFunc(runs, compareLines)
	var out []lineCount
	for _, r := range runs {
		if n := len(out); n > 0 && compareLines(out[n-1], r) == 0 {
			out[n-1].visits += r.visits
			out[n-1].paths += r.paths
			out[n-1].pruned += r.pruned
			continue
		}
		out = append(out, r)
	}
	return out
}

func compareLines(a, b lineCount) int {
	if a.fn != b.fn || a.line == nil || b.line == nil {
		return cmp.Or(cmp.Compare(a.fn, b.fn), cmp.Compare(known(a.line), known(b.line)))
	}
	return cmp.Or(strings.Compare(a.line.FileName(), b.line.FileName()), cmp.Compare(a.line.LineNumber(), b.line.LineNumber()))
}

func known(l *btf.Line) int {
	if l == nil {
		return 0
	}
	return 1
}

func (m *programMap) loops(f *logFold, most int) []LoopHead {
	var out []LoopHead
	for _, slot := range m.heads {
		if f.visits[slot] == 0 {
			continue
		}
		fn := functionAt(m.starts, slot)
		h := LoopHead{Function: m.names[fn], Slot: slot, Visits: uint64(f.visits[slot]), Pruned: uint64(f.pruned[slot])}
		at, found := slices.BinarySearchFunc(m.lines, slot, func(l lineStart, s int) int { return cmp.Compare(l.slot, s) })
		if !found {
			at--
		}
		if at >= 0 && m.lines[at].slot >= m.starts[fn] {
			h.File, h.Line = shortenPath(m.lines[at].line.FileName()), m.lines[at].line.LineNumber()
		}
		out = append(out, h)
	}
	slices.SortStableFunc(out, func(a, b LoopHead) int { return cmp.Compare(b.Visits, a.Visits) })
	return out[:min(len(out), most)]
}
