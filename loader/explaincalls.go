package loader

const (
	opCall = 0x85 // BPF_JMP | BPF_CALL
	opExit = 0x95 // BPF_JMP | BPF_EXIT
	opJump = 0x05 // BPF_JMP | BPF_JA
	opGoto = 0x06 // BPF_JMP32 | BPF_JA
	// maxAside is above the branches the verifier sets aside (8192,
	// BPF_COMPLEXITY_LIMIT_JMP_SEQ) plus as many that it decided at once.
	maxAside = 1 << 15
	// maxChains bounds what a hostile log can make us keep.
	maxChains = 1 << 16
)

// callTree follows who called the function that the verifier is in, to tell the
// insns of a function from those of what it calls. The log does not say it:
// a call is seen by the function that comes next, and a path that was set aside
// goes on with the callers it had at that jump. The sum over all chains is exact;
// between two callers of one function a visit may be put down to the wrong one
// where a jump was visited from both and only one of the visits set a path aside.
type callTree struct {
	starts []int
	chains []chain
	child  map[[2]int32]int32 // by parent and function
	last   []int32            // per function the chain it was last in, -1 for none
	now    int32              // -1 between two paths
	prevOp byte
	aside  []aside
	at     int // function last visited, saves the search
}

// chain is a function and the chain of its callers.
type chain struct {
	fn, parent int32 // parent -1: nobody calls it, the verifier starts here
	visits     uint64
}

// aside is a jump in a called function that may have set a path aside.
type aside struct {
	at    int
	chain int32
}

func newCallTree(starts []int) *callTree {
	t := &callTree{starts: starts, child: make(map[[2]int32]int32), last: make([]int32, len(starts)), now: -1}
	for i := range t.last {
		t.last[i] = -1
	}
	return t
}

// function is functionAt with a memory.
func (t *callTree) function(slot int) int32 {
	if slot < t.starts[t.at] || t.at+1 < len(t.starts) && slot >= t.starts[t.at+1] {
		t.at = functionAt(t.starts, slot)
	}
	return int32(t.at)
}

// visit counts a visit of slot, whose instruction has the opcode op; op 0 ends the path.
func (t *callTree) visit(slot int, op byte) {
	t.now = t.next(slot)
	c := &t.chains[t.now]
	c.visits++
	t.last[c.fn] = t.now
	t.prevOp = op
	switch {
	case op == 0:
		t.now = -1
	case op == opExit && c.parent < 0:
		t.now = -1
	case c.parent >= 0 && (op&7 == 5 || op&7 == 6) && op != opExit && op != opJump && op != opGoto:
		if len(t.aside) == maxAside {
			t.aside = append(t.aside[:0], t.aside[maxAside/2:]...)
		}
		t.aside = append(t.aside, aside{slot, t.now})
	}
}

// next is the chain that slot is visited in, coming from the present one.
func (t *callTree) next(slot int) int32 {
	fn := t.function(slot)
	if t.now < 0 {
		return t.chain(-1, fn)
	}
	if t.chains[t.now].fn == fn {
		return t.now
	}
	if t.prevOp != opCall || slot != t.starts[fn] {
		for up := t.chains[t.now].parent; up >= 0; up = t.chains[up].parent {
			if t.chains[up].fn == fn {
				return up
			}
		}
	}
	if t.prevOp == opCall {
		return t.chain(t.now, fn)
	}
	return t.chain(-1, fn)
}

// chain is the chain of fn called from parent; -1 is nobody.
func (t *callTree) chain(parent, fn int32) int32 {
	key := [2]int32{parent, fn}
	if i, ok := t.child[key]; ok {
		return i
	}
	if len(t.chains) == maxChains && parent >= 0 {
		return t.chain(-1, fn)
	}
	i := int32(len(t.chains))
	t.chains = append(t.chains, chain{fn: fn, parent: parent})
	t.child[key] = i
	return i
}

// resume goes on with the path that was set aside at slot from and continues at to.
// The verifier takes the newest first, so what was noted after it is done with.
func (t *callTree) resume(from, to int) {
	fn := t.function(to)
	t.now, t.prevOp = t.last[fn], 0
	if t.now < 0 || t.chains[t.now].parent < 0 && t.function(from) == fn {
		return // never seen, or in a function that nobody calls
	}
	const search = 4096
	for i := len(t.aside) - 1; i >= max(0, len(t.aside)-search); i-- {
		if t.aside[i].at != from {
			continue
		}
		was := t.aside[i].chain
		t.aside = t.aside[:i]
		if t.chains[was].fn == fn {
			t.now = was
		}
		return
	}
}

// totals returns for each function the visits of itself and of what it calls.
func (t *callTree) totals() []uint64 {
	out := make([]uint64, len(t.starts))
	for i := range t.chains {
		seen := make(map[int32]bool, 8) // a function counts once, also if it called itself
		for up := int32(i); up >= 0; up = t.chains[up].parent {
			if fn := t.chains[up].fn; !seen[fn] {
				seen[fn] = true
				out[fn] += t.chains[i].visits
			}
		}
	}
	return out
}
