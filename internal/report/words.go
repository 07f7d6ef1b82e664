package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/snapshot"
)

// How much of one text a person is shown; the JSON has all of it.
const (
	longText     = 1000
	longEvidence = 4000
)

// verdictWord is the verdict as it leads a report.
func verdictWord(r *Report) string {
	if r.Verdict == "" {
		return "NO VERDICT"
	}
	return strings.ToUpper(flat(string(r.Verdict)))
}

// sentence is the verdict in one sentence.
func sentence(r *Report) string {
	if s := flat(r.Summary); s != "" {
		return cut(s, longText)
	}
	if r.Verdict == "" {
		return "nothing was judged"
	}
	return "no more is known than this"
}

// worstFirst orders findings by severity. Of equal ones the host's own things lead, for what the
// kernel was asked by programs made for that only foretells what becomes of them; of these what does
// not work any more leads what may not work next. Their order is kept otherwise.
func worstFirst(findings []snapshot.Finding) []*snapshot.Finding {
	out := make([]*snapshot.Finding, len(findings))
	for i := range findings {
		out[i] = &findings[i]
	}
	slices.SortStableFunc(out, func(a, b *snapshot.Finding) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(aside(a), aside(b)))
	})
	return out
}

// aside is 0 for what does not work any more, 1 for other findings on the host's own things, 2 for
// what foretells only.
func aside(f *snapshot.Finding) int {
	switch f.Subject.Kind {
	case "bpf.attach", "bpf.behaviour", "bpf.breaking_point", "bpf.feature", "bpf.probe", "bpf.speed":
		return 2
	}
	if f.Attr == "verdict" {
		return 0
	}
	return 1
}

// said is a finding's message with what it explains.
func said(f *snapshot.Finding) string {
	text := flat(f.Message)
	if text == "" {
		text = flat(refName(f.Subject) + ": " + f.Code)
	}
	text = cut(text, longText)
	if len(f.Behind) > 0 {
		text += ", and " + behind(f.Behind)
	}
	return text
}

func refName(s snapshot.SubjectRef) string {
	if l := flat(s.Label); l != "" {
		return l
	}
	return flat(s.ID)
}

// behind counts what a finding explains, by kind, and names the first few of it:
// "49 disks behind it (sda, sdb, sdc, sdd, …)".
func behind(refs []snapshot.SubjectRef) string {
	const most = 4
	n := map[string]int{}
	var kinds, names []string
	for _, s := range refs {
		if n[s.Kind] == 0 {
			kinds = append(kinds, s.Kind)
		}
		n[s.Kind]++
		if len(names) < most {
			names = append(names, refName(s))
		}
	}
	for i, k := range kinds {
		kinds[i] = counted(n[k], k)
	}
	if len(refs) > most {
		names = append(names, "…")
	}
	return strings.Join(kinds, ", ") + " behind it (" + strings.Join(names, ", ") + ")"
}

// abbreviations are the kinds whose last word is no noun.
var abbreviations = map[string]string{"pci": "PCI device", "usb": "USB device", "raid": "RAID device", "bmc": "BMC", "scsi_host": "SCSI host", "xhci": "USB controller"}

// counted is so many subjects of a kind, in words: "2 disks", "1 PCI device".
func counted(n int, kind string) string {
	noun := flat(kind[strings.LastIndexByte(kind, '.')+1:])
	if a, ok := abbreviations[noun]; ok {
		noun = a
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok && n != 1 {
		noun = stem + "ies"
	} else if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n) + " " + noun
}

// unitsByName are the units that attributes bear by their names. A report may
// come from a file and of another version, without the kinds it was made with.
var unitsByName = []struct {
	ending string
	unit   snapshot.Unit
}{
	{"insns", snapshot.Insns}, {"insns_processed", snapshot.Insns}, {"insns_limit", snapshot.Insns},
	{"states", snapshot.States}, {"states_per_insn", snapshot.States},
	{"_bytes", snapshot.Bytes}, {"stack_depth", snapshot.Bytes}, {"_seconds", snapshot.Seconds},
	{"_celsius", snapshot.Celsius}, {"_rpm", snapshot.RPM}, {"_bits", snapshot.Bits}, {"_volts", snapshot.Volts},
}

func unitOf(attr string) snapshot.Unit {
	for _, u := range unitsByName {
		if strings.HasSuffix(attr, u.ending) {
			return u.unit
		}
	}
	return snapshot.Count
}

// oldToNew is a finding's values: "104,233 → 312,700 insns, ×3". A value that the
// finding does not have is not made up.
func oldToNew(f *snapshot.Finding) string {
	u := unitOf(f.Attr)
	switch {
	case f.Old == nil && f.New == nil:
		return ""
	case f.Old == nil:
		return "now " + brief(u, f.New)
	case f.New == nil:
		return "was " + brief(u, f.Old)
	}
	from, to := brief(u, f.Old), brief(u, f.New)
	if unit := " " + string(u); u != snapshot.NoUnit && strings.HasSuffix(to, unit) && !strings.HasSuffix(to, ")") {
		from = strings.TrimSuffix(from, unit)
	}
	return from + " → " + to + growth(u, f.Old, f.New)
}

// saysNumbers reports whether a finding's message has both of its numbers, and their ratio where there is one.
func saysNumbers(f *snapshot.Finding) bool {
	if f.Old == nil || f.New == nil {
		return false
	}
	u, text := unitOf(f.Attr), said(f)
	for _, v := range []*snapshot.Value{f.Old, f.New} {
		number, _, _ := strings.Cut(brief(u, v), " ")
		if _, ok := v.Number(); !ok || !hasNumber(text, number) {
			return false
		}
	}
	return hasNumber(text, strings.TrimPrefix(growth(u, f.Old, f.New), ", "))
}

// hasNumber reports whether a number stands in a text, and not as a part of a longer one.
func hasNumber(text, number string) bool {
	if number == "" {
		return true
	}
	inside := func(r byte) bool { return r >= '0' && r <= '9' || r == ',' || r == '.' }
	for from := 0; ; {
		at := strings.Index(text[from:], number)
		if at < 0 {
			return false
		}
		begin, end := from+at, from+at+len(number)
		after := text[end:]
		if (begin == 0 || !inside(text[begin-1])) && (after == "" || !inside(after[0]) || len(after) == 1 || !inside(after[1])) {
			return true
		}
		from = begin + 1
	}
}

// growth is the ratio of two amounts, where a ratio says something.
func growth(u snapshot.Unit, was, is *snapshot.Value) string {
	switch u {
	case snapshot.Insns, snapshot.States, snapshot.Bytes, snapshot.Seconds:
	default:
		return ""
	}
	a, ok1 := was.Number()
	b, ok2 := is.Number()
	if !ok1 || !ok2 || a <= 0 || b <= 0 || a == b {
		return ""
	}
	return ", " + snapshot.Times(b/a)
}

// brief is a value on one line of at most some forty columns: a set of helpers
// can be long.
func brief(u snapshot.Unit, v *snapshot.Value) string { return cut(flat(u.Format(*v)), 41) }

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// orDash is a text on one line, or a dash where it is empty.
func orDash(s string) string {
	if s = flat(s); s == "" {
		return "-"
	}
	return s
}

func kernelLine(id *snapshot.Identity) string {
	parts := []string{"kernel " + orNone(id.Kernel.Release)}
	if id.Kernel.Arch != "" {
		parts[0] += " " + id.Kernel.Arch
	}
	if b := id.Kernel.BuildID; b != "" {
		parts = append(parts, "build "+start(b, 12))
	}
	if id.BootID != "" {
		parts = append(parts, "boot "+start(id.BootID, 8))
	}
	return flat(strings.Join(parts, ", "))
}

// start is the beginning of an identifier.
func start(s string, n int) string {
	runes := []rune(flat(s))
	return string(runes[:min(n, len(runes))])
}

// learnedBy is the word that stands for the first run where a name stands otherwise.
const learnedBy = "learned"

// baselineLine says what the last good boot ran, and since when it is trusted and by whom.
func baselineLine(r *Report) string {
	return acceptedLine(r) + learnedFrom(r.Learned)
}

// learnedFrom says by which other good boots a boot was judged, and what that kept quiet.
func learnedFrom(l *Learned) string {
	if l == nil {
		return ""
	}
	text := fmt.Sprintf(", with %d good boots since", l.Boots-1)
	if l.Boots == 2 {
		text = ", with 1 good boot since"
	}
	if n := l.Quiet + l.Softened; n > 0 {
		text += fmt.Sprintf(" (%d of what differs was so in them)", n)
	}
	return text
}

func acceptedLine(r *Report) string {
	line := kernelLine(r.Baseline)
	if r.Accepted.IsZero() {
		return line
	}
	when := r.Accepted.UTC().Format("2006-01-02 15:04 UTC")
	switch by := flat(r.AcceptedBy); by {
	case learnedBy:
		return line + ", learned " + when + " on the first run"
	case "":
		return line + ", accepted " + when
	default:
		return line + ", accepted " + when + " by " + by
	}
}

// changed says what else than the subjects differs, by class.
func changed(r *Report) string {
	if len(r.Attribution) == 0 {
		if r.Current != nil && r.Baseline.SameBuild(r.Current) {
			return "nothing: the same kernel build, configuration and tool"
		}
		return "nothing that could be told"
	}
	var parts []string
	for _, class := range r.Attribution {
		var facts []string
		for _, c := range r.Changes {
			if c.Class == class {
				facts = append(facts, strings.ReplaceAll(c.Fact, "_", " "))
			}
		}
		part := string(class)
		if len(facts) > 0 {
			part += " (" + strings.Join(facts, ", ") + ")"
		}
		parts = append(parts, part)
	}
	if text := flat(strings.Join(parts, "; ")); strings.TrimSpace(text) != "" {
		return text
	}
	return "nothing that could be told" // a report read from a file may name no class
}
