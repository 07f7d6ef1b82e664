package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

func TestWidth(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "plain": 5, "→ × ≤ …": 7, "├─ └─ │": 7, "名前": 4, "e\u0301": 1, "ﾊﾝｶｸ": 4, "ＦＵＬＬ": 8, "한글": 4, "🦀": 2, "\x1b[1;31mred\x1b[0m": 3, "µs °C": 5, "\x1b[": 2,
	} {
		if got := Width(in); got != want {
			t.Errorf("%q takes %d columns, want %d", in, got, want)
		}
	}
}

func FuzzWidth(f *testing.F) {
	for _, s := range []string{"plain", "名前", "\x1b[1mx\x1b[0m", "\x1b[", "e\u0301", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n := Width(s); n < 0 || n > 2*len(s) {
			t.Errorf("%q takes %d columns", s, n)
		}
		if b := bare(s); len(b) > len(s) {
			t.Errorf("%q has %q without colours", s, b)
		}
		for _, r := range ascii(s) {
			if r >= 0x7f && r != noBreak {
				t.Errorf("%q in ASCII has %q", s, r)
			}
		}
		w := wrap(s, 20, 30)
		if got, want := strings.Fields(strings.Join(w, " ")), strings.Fields(s); !cmp.Equal(got, want) {
			t.Errorf("%q wrapped is %q", s, w)
		}
	})
}

// A number stays with its unit, and what is glued stays together, in ASCII too.
func TestWrapKeepsTogether(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"it is at 87 % of its limit", []string{"it is at", "87 % of its", "limit"}},
		{"it takes 12 ms now", []string{"it takes", "12 ms now"}},
		{"read 1,234 insns", []string{"read", "1,234 insns"}},
		{"of its " + glued("[kernel, x]"), []string{"of its", "[kernel, x]"}},
		{"a-word-that-is-longer-than-the-line and", []string{"a-word-that-is-longer-than-the-line", "and"}},
		{"two s behind", []string{"two s", "behind"}},
	} {
		got := wrap(c.text, 11, 11)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], string(noBreak), " ")
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, d)
		}
	}
}

// narrowTables are tables with more in them than a narrow terminal has room for.
func narrowTables() map[string]func(*bytes.Buffer, Options) error {
	s := programs()
	s.Subjects = append(s.Subjects, snapshot.Subject{Kind: "bpf.program", ID: "a_program/with_a_name_that_is_longer_than_its_column_has_room_for", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"verdict": snapshot.Text("accepted"), "insns_processed": snapshot.Int(1_000_000)}},
		snapshot.Subject{Kind: "bpf.program", ID: "名前/プログラム", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"verdict": snapshot.Text("accepted"), "insns_processed": snapshot.Int(7)}})
	rows := []Row{{BootID: "0123456789", Release: "6.12.117+deb12-cloud-amd64", Verdict: snapshot.Regressed, Critical: 2, Warning: 13, Info: 127, Current: true},
		{BootID: "123456789a", Release: "6.1.0-56-cloud-amd64", Verdict: snapshot.Good, LastGood: true}}
	heat := Heat{Series: []HeatSeries{{Label: "coretemp Package id 0", Unit: "°C", Ranges: []HeatRange{{Load: "0 to 10 %", Old: 41, OldSamples: 1200, New: 47.5, NewSamples: 900, Difference: new(float64)}, {Load: "90 to 100 %", New: 80, NewSamples: 3}}}}}
	checks := []CheckResult{{Name: "storage/root", Required: true, State: Met}, {Name: "storage/data", Required: true, State: NotMet, Why: "/srv/data is not mounted; it was at the last good boot\x1b[2J"},
		{Name: "network/bond", State: NotTold, Why: "no such interface 名前"}, {Name: "network/late", Required: true, State: NotDue, Why: "it has 20 s more"}}
	answers := []AnswerRow{{Group: "gate", Question: "workloads may start", Answer: "yes", Wanted: true, Detail: "released"}, {Group: "who is told", Question: "somebody is told over the network", Answer: "no", Hint: "add a notify: section"},
		{Group: "boot loader", Question: "it is known what boots next", Answer: "could not tell", Wanted: true, Detail: "/boot/grub/grub.cfg is not readable\x1b[2J"},
		{Group: "units", Question: "lastgood-assess.service is enabled", Answer: "no", Wanted: true, Hint: "systemctl enable lastgood-assess.service"}}
	return map[string]func(*bytes.Buffer, Options) error{
		"answers":  func(b *bytes.Buffer, o Options) error { return Answers(b, answers, o) },
		"programs": func(b *bytes.Buffer, o Options) error { return Programs(b, s, o) },
		"history":  func(b *bytes.Buffer, o Options) error { return History(b, rows, o) },
		"heat":     func(b *bytes.Buffer, o Options) error { return WriteHeat(b, heat, "6.1.0-56-cloud-amd64", o) },
		"checks":   func(b *bytes.Buffer, o Options) error { return Checks(b, checks, o) },
		"families": func(b *bytes.Buffer, o Options) error {
			return FamilyTable(b, []FamilyRow{{"merge_stack_half", "merge", 7, "Paths that differ in a half of a slot."}, {"datapath", "datapath", 18, "A network datapath in C."}}, o)
		},
		"report":    func(b *bytes.Buffer, o Options) error { return Table(b, reports()["regressed.1"], o) },
		"preflight": func(b *bytes.Buffer, o Options) error { return Table(b, reports()["preflight.1"], o) },
		"snapshot":  func(b *bytes.Buffer, o Options) error { return Snapshot(b, s, nil, o) },
		"inventory": func(b *bytes.Buffer, o Options) error { return Inventory(b, s, nil, o) },
	}
}

// TestNarrow: no line is wider than the terminal but for a single word, with colours or
// without, in UTF-8 and in ASCII; and what an ASCII terminal gets is ASCII.
func TestNarrow(t *testing.T) {
	for name, write := range narrowTables() {
		for _, o := range []Options{{Width: 60}, {Width: 80}, {Width: 120}, {Width: 60, ASCII: true}, {Width: 80, Color: true}} {
			var b bytes.Buffer
			if err := write(&b, o); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				line = strings.TrimSuffix(line, "\n")
				if n := Width(line); n > o.Width && len(strings.Fields(line)) > 1 {
					t.Errorf("%s at %+v: %d columns: %q", name, o, n, line)
				}
				if o.ASCII && notASCII.MatchString(line) {
					t.Errorf("%s: not ASCII: %q", name, line)
				}
			}
			if o == (Options{Width: 60}) || o == (Options{Width: 80}) {
				golden(t, name+"."+map[int]string{60: "60", 80: "80"}[o.Width]+".table", b.Bytes())
			}
			if o.Color {
				var plain bytes.Buffer
				o.Color = false
				if err := write(&plain, o); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(plain.String(), bare(b.String())); d != "" {
					t.Errorf("%s: colours take room (-plain +coloured):\n%s", name, d)
				}
			}
		}
	}
}

var notASCII = regexp.MustCompile(`[^ -~]`)
