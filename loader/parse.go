package loader

import (
	"strconv"
	"strings"
)

const (
	// maxUnknown and maxLine bound what a hostile or future log can make us keep.
	maxUnknown = 16
	maxLine    = 512
	// maxSubprogs is far above BPF_MAX_SUBPROGS (256) and the hidden ones.
	maxSubprogs = 4096
	// causeLines is how many lines before the end may hold the cause. State dumps
	// of a few hundred registers and stack slots follow some messages.
	causeLines = 400
	tailBytes  = 4 << 10
)

// Parsed is what ParseLog found.
type Parsed struct {
	Stats Stats
	// Cause is the line that names the reason of a rejection. In the log of an
	// accepted program it is the last line that is not a statistic, or "".
	Cause  string
	Reason Reason // class of Cause; "" when the table does not know it
	// Unknown are lines that look like statistics and are not known, at most 16.
	Unknown []string
	// Truncated tells that the log ends inside a line.
	Truncated bool
}

// ParseLog reads a verifier log of any kernel. Statistics may come in any order,
// be missing or cut off; four generations of them are known:
//
//	to 5.1  processed N insns (limit N), stack depth N+N
//	5.2 on  verification time N usec / stack depth N+N / processed N insns (limit N) KEY N ...
//	newer   stack depth N+N max N / insns processed N+N
//	newest  stack depth max N / subprog I (NAME) LINKAGE insns_self N insns_total N stack N
//
// Nothing is filled in that is not there. The log is not copied as a whole, and
// the result's size does not grow with it.
func ParseLog(log string) Parsed {
	p := parser{}
	rest := log
	for rest != "" {
		line, next, whole := strings.Cut(rest, "\n")
		rest = next
		if !whole {
			p.Truncated = true
			line = line[:strings.LastIndexByte(line, ' ')+1] // the last word may lack digits
		}
		p.line(line, whole)
	}
	p.finish(log)
	return p.Parsed
}

type parser struct {
	Parsed
	inStats bool // a statistics line came before
}

// line takes one line, whole or cut off at its end.
func (p *parser) line(line string, whole bool) {
	switch {
	case hasPrefix(line, statisticPrefixes):
		if p.statistic(line, whole) {
			p.inStats = true
		} else if whole {
			p.unknown(line)
		}
	case !whole || len(p.Unknown) == maxUnknown:
		// Nothing to learn, and judging a hostile log line by line is dear.
	case newStatistic(line) || p.inStats && afterStatistics(line):
		p.unknown(line)
	}
}

func (p *parser) unknown(line string) {
	if len(p.Unknown) < maxUnknown {
		p.Unknown = append(p.Unknown, strings.Clone(line[:min(len(line), maxLine)]))
	}
}

// statistic parses line if it is a known statistic and reports whether it was.
func (p *parser) statistic(line string, whole bool) bool {
	switch {
	case strings.HasPrefix(line, "processed "):
		return p.processed(line, whole)
	case strings.HasPrefix(line, "stack depth "):
		return p.stackDepth(strings.TrimPrefix(line, "stack depth "), whole)
	case strings.HasPrefix(line, "verification time "):
		return p.verificationTime(line, whole)
	case strings.HasPrefix(line, "insns processed "):
		return p.insnsPerSubprog(strings.TrimPrefix(line, "insns processed "), whole)
	case strings.HasPrefix(line, "subprog "):
		return p.subprog(line, whole)
	}
	return false
}

// processed parses `processed N insns (limit N) KEY N ...` and the old
// `processed N insns, stack depth N+N`.
func (p *parser) processed(line string, whole bool) bool {
	head, stack, old := strings.Cut(line, ", stack depth ")
	words := strings.Fields(strings.TrimSuffix(head, ","))
	if len(words) < 3 || strings.TrimSuffix(words[2], ",") != "insns" {
		return false
	}
	n, ok := number(words[1])
	if !ok {
		return false
	}
	p.Stats.InsnsProcessed = Some(n)
	if old && !p.stackDepth(stack, whole) && whole {
		p.unknown(line)
	}
	if !p.pairs(words[3:]) && whole {
		p.unknown(line)
	}
	return true
}

// pairs parses KEY VALUE pairs and reports whether it knew all of them. A key
// whose value was cut off is no unknown key.
func (p *parser) pairs(words []string) bool {
	keys := map[string]*Opt[uint64]{
		"(limit":              &p.Stats.InsnsLimit,
		"max_states_per_insn": &p.Stats.MaxStatesPerInsn,
		"total_states":        &p.Stats.TotalStates,
		"peak_states":         &p.Stats.PeakStates,
		"mark_read":           &p.Stats.MarkRead,
	}
	known := true
	for len(words) >= 2 {
		n, ok := number(strings.TrimSuffix(words[1], ")"))
		field := keys[words[0]]
		if ok && field != nil {
			*field = Some(n)
		} else {
			known = false
		}
		words = words[2:]
	}
	return known && len(words) == 0
}

// stackDepth parses `N+N`, `N+N max N` and `max N`.
func (p *parser) stackDepth(rest string, whole bool) bool {
	words := strings.Fields(rest)
	if len(words) > 0 && words[0] != "max" {
		depths, ok := sum(words[0])
		if !ok {
			return false
		}
		p.Stats.StackDepths = make([]int, len(depths))
		for i, d := range depths {
			p.Stats.StackDepths[i] = int(d)
		}
		words = words[1:]
	}
	if len(words) == 2 && words[0] == "max" {
		if n, ok := number(words[1]); ok {
			p.Stats.StackMax = Some(int(n))
			return true
		}
		return false
	}
	return len(words) == 0 || !whole
}

func (p *parser) verificationTime(line string, whole bool) bool {
	words := strings.Fields(line)
	if len(words) < 3 {
		return !whole
	}
	usec, ok := number(words[2])
	if !ok || len(words) > 4 || len(words) == 4 && words[3] != "usec" || len(words) == 3 && whole {
		return false
	}
	p.Stats.VerificationSeconds = Some(float64(usec) / 1e6)
	return true
}

func (p *parser) insnsPerSubprog(rest string, whole bool) bool {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return !whole
	}
	counts, ok := sum(words[0])
	if !ok || len(words) > 1 {
		return false
	}
	p.Stats.InsnsPerSubprog = counts
	return true
}

// subprog parses `subprog I (NAME) LINKAGE insns_self N insns_total N stack N`.
func (p *parser) subprog(line string, whole bool) bool {
	words := strings.Fields(line)
	if len(words) != 10 || !strings.HasPrefix(words[2], "(") || !strings.HasSuffix(words[2], ")") ||
		words[4] != "insns_self" || words[6] != "insns_total" || words[8] != "stack" {
		return !whole
	}
	index, ok1 := number(words[1])
	self, ok2 := number(words[5])
	total, ok3 := number(words[7])
	stack, ok4 := number(words[9])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return false
	}
	if len(p.Stats.PerSubprog) < maxSubprogs {
		p.Stats.PerSubprog = append(p.Stats.PerSubprog, SubprogStats{
			Index: int(index), Name: strings.Clone(words[2][1 : len(words[2])-1]), Linkage: strings.Clone(words[3]),
			InsnsSelf: self, InsnsTotal: total, Stack: int(stack),
		})
	}
	return true
}

// finish derives what follows from the whole log: the number of subprograms, the
// stacks the newest kernels report one by one, and the cause.
func (p *parser) finish(log string) {
	s := &p.Stats
	if s.StackDepths == nil && len(s.PerSubprog) > 0 {
		for _, sub := range s.PerSubprog {
			s.StackDepths = append(s.StackDepths, sub.Stack)
		}
	}
	switch {
	case len(s.StackDepths) > 0:
		s.Subprograms = Some(len(s.StackDepths))
	case len(s.InsnsPerSubprog) > 0:
		s.Subprograms = Some(len(s.InsnsPerSubprog))
	}
	p.Cause, p.Reason = cause(log, p.Unknown)
}

// number parses a count of at most 2^53, which every reader of JSON can hold and
// no counter of the verifier comes near.
func number(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 53)
	return n, err == nil
}

// sum parses `N+N+N`.
func sum(s string) ([]uint64, bool) {
	if strings.Count(s, "+") >= maxSubprogs {
		return nil, false
	}
	var out []uint64
	for part := range strings.SplitSeq(s, "+") {
		n, ok := number(part)
		if !ok {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}
