package probes

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"lastgood/internal/snapshot"
	"lastgood/loader"
)

// notAsked are helpers that are not tried, because looking them up alone has an
// effect on the host: the first makes the kernel log that a program may corrupt
// user memory, the others switch a trace event on, and before 5.9 allocate
// buffers and log a banner.
var notAsked = []string{"bpf_probe_write_user", "bpf_trace_printk", "bpf_trace_vprintk"}

func notAskedList() string { return strings.Join(notAsked, ", ") }

const (
	// maxEvidence bounds the evidence of one program type, in lines.
	maxEvidence = 24
	// maxUnclear bounds how many unclear helpers keep their own line.
	maxUnclear = 32
)

// quickTargets is the kernel version that looks an attach target up by search.
// Before it the kernel walks all its symbols, 20 ms at a time (60443c88f3a8), and
// two hundred such loads are not to be had. It goes by the version, though a
// distribution may have taken the change earlier, for what is asked must not
// depend on how fast a machine is today.
var quickTargets = [2]int{6, 2}

// subject asks for the type itself and, where it is there, for each helper.
func (p *progType) subject(c *censor) snapshot.Subject {
	label := "program type " + p.name
	try, t := p.prepare(c)
	if t.answer != unclear || t.line != "" {
		return answered(p.id(), label, t)
	}
	errno, log := c.trier().Prog(try)
	t = answerProgram(errno, log)
	if p.understood != "" && strings.Contains(log, p.understood) {
		t.answer = yes
	}
	s := answered(p.id(), label, t)
	switch {
	case t.answer != yes || p.noHelpers:
	case try.BTFID != 0 && p.typ != ebpf.StructOps && releaseBefore(c.release(), quickTargets):
		s.Set(featEvidence, snapshot.Text("helpers were not asked: before 6.2 each load of this type takes the kernel 20 ms"))
	default:
		s.Set(featUse, snapshot.Text(useCommon))
		if p.seldom {
			s.Set(featUse, snapshot.Text(useSeldom))
		}
		return p.helpers(c, s, try)
	}
	return s
}

// releaseBefore reports whether a kernel release is of a version before v; one
// that is no version is not.
func releaseBefore(release string, v [2]int) bool {
	var have [2]int
	if n, err := fmt.Sscanf(release, "%d.%d", &have[0], &have[1]); n != 2 || err != nil {
		return false
	}
	return slices.Compare(have[:], v[:]) < 0
}

// prepare makes the load of a trivial program of the type. An answer that has a
// line is final: there is nothing to attach to.
func (p *progType) prepare(c *censor) (loader.TryProg, told) {
	try := loader.TryProg{Type: p.typ, Attach: p.attach, Flags: p.flags, Insns: c.trivial, Name: objectName}
	if p.target == nil {
		return try, told{}
	}
	t, err := c.target(p.target)
	switch {
	case errors.Is(err, errNoBTF), errors.Is(err, errNoTarget) && p.targetIsFeature:
		return try, told{no, clipLine(err.Error())}
	case err != nil:
		return try, told{unclear, clipLine(err.Error())}
	}
	try.BTFID = t.id
	if p.typ == ebpf.StructOps {
		try.Attach = ebpf.AttachType(t.member)
	}
	return try, told{}
}

// helpers asks for each helper that the kernel knows.
func (p *progType) helpers(c *censor, s snapshot.Subject, try loader.TryProg) snapshot.Subject {
	said := tally{phrases: c.phrases}
	plain := c.askPlain(try)
	b := newBurst(try, c.callHelper, c.logLevel())
	defer b.close()
	for id := 1; id <= c.lastHelper(); id++ {
		name := helperName(id)
		if slices.Contains(notAsked, name) {
			continue
		}
		t, known := plain[id]
		if !known {
			errno, log := b.call(id)
			t = answerHelper(errno, log, id)
		}
		said.add(name, t)
	}
	said.fill(&s, c.lockdown())
	return s
}

// phrases keeps one copy of each line that the kernel has said, and what it says
// without the helper's name. Thousands of answers are made of a few hundred lines.
type phrases map[string]phrase

type phrase struct{ line, generic string }

// of returns line, which may be a view into a log buffer, for keeping.
func (p phrases) of(line string) phrase {
	if kept, ok := p[line]; ok {
		return kept
	}
	line = strings.Clone(line)
	kept := phrase{line, generic(line)}
	p[line] = kept
	return kept
}

// tally gathers what the kernel said of each helper.
type tally struct {
	phrases     phrases
	open, vague []string
	errs        map[string]string
	lines       map[string]int
}

func (y *tally) add(name string, t told) {
	if y.lines == nil {
		y.lines, y.errs = map[string]int{}, map[string]string{}
	}
	if y.phrases == nil {
		y.phrases = phrases{}
	}
	words := y.phrases.of(t.line)
	if t.answer != no {
		y.open = append(y.open, name)
	}
	if t.answer != unclear {
		y.lines[words.generic]++
		return
	}
	y.vague = append(y.vague, name)
	y.lines[name+": "+words.line]++
	if len(y.errs) < maxUnclear {
		y.errs[name] = words.line
	}
}

// fill sets the attributes of a program type's subject. Evidence that applies to
// all comes first.
func (y *tally) fill(s *snapshot.Subject, first string) {
	s.Set(featNotRefused, snapshot.List(y.open...))
	s.Set(featUnclear, snapshot.List(y.vague...))
	s.Set(featEvidence, snapshot.Text(first+countLines(y.lines)))
	for name, line := range y.errs {
		s.Fail(name, errors.New(line))
	}
}

// generic drops the helper's name and number from a refusal, so that alike
// refusals are counted together; which helpers they were is in the attributes.
func generic(line string) string {
	text, ok := refusal(line)
	if !ok {
		return line
	}
	_, after, _ := strings.Cut(line[len(text):], " ")
	return strings.TrimSuffix(text+"NAME#ID "+after, " ")
}

// countLines writes lines with how often each was said, the most frequent first.
func countLines(said map[string]int) string {
	lines := slices.Collect(maps.Keys(said))
	slices.SortFunc(lines, func(a, b string) int { return cmp.Or(said[b]-said[a], strings.Compare(a, b)) })
	var b strings.Builder
	for i, l := range lines {
		if i == maxEvidence {
			fmt.Fprintf(&b, "… and %d other lines\n", len(lines)-i)
			break
		}
		fmt.Fprintf(&b, "%d× %s\n", said[l], l)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// lastHelper is the highest helper id that the kernel knows. An id beyond is
// refused before the program's type is looked at, so asking once is enough.
func (c *censor) lastHelper() int {
	if c.last != 0 {
		return c.last
	}
	b := newBurst(loader.TryProg{Type: ebpf.SocketFilter}, c.callHelper, c.logLevel())
	defer b.close()
	id := len(helperNames)
	for id > 1 && !b.knows(id) {
		id--
	}
	// Bounded, for the case that a later kernel words its refusal otherwise.
	for id >= len(helperNames) && id < len(helperNames)+64 && b.knows(id+1) {
		id++
	}
	c.last = id
	return id
}

// knows reports whether the kernel has a helper of that id, for whatever type.
func (b *burst) knows(id int) bool {
	_, log := b.call(id)
	if strings.Contains(log, "invalid func ") {
		return false
	}
	// Beyond the table a helper is there only where the kernel names it.
	return id <= len(helperNames) || strings.Contains(log, "#"+strconv.Itoa(id))
}
