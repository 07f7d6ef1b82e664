package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ptr(v snapshot.Value) *snapshot.Value { return &v }

func identity(release, build string) *snapshot.Identity {
	return &snapshot.Identity{Kernel: snapshot.KernelIdentity{Release: release, Arch: "x86_64", BuildID: build}, BootID: "01234567-89ab-cdef-0123-456789abcdef"}
}

// reports are what the golden files show; a file's name holds the exit status.
func reports() map[string]*Report {
	good := &Report{Verdict: snapshot.Good, Summary: "this host came back the same way it went down", Current: identity("6.12.43", "aabbccddeeff0011"), Baseline: identity("6.12.43", "aabbccddeeff0011"),
		Taken: time.Date(2026, 11, 21, 3, 4, 5, 600e6, time.UTC), Accepted: time.Date(2026, 11, 20, 3, 4, 5, 0, time.UTC), AcceptedBy: "root", TookSeconds: 0.5,
		Incomplete: []snapshot.Gap{{Kind: "hw.sensor", ID: "x", Reason: "read x: input/output error"}, {Kind: "hw.bmc", ID: "y", Reason: "no such thing"}}}
	regressed := &Report{Verdict: snapshot.Regressed, Summary: "this boot is worse than the last good one: 2 critical findings, 2 warnings", Current: identity("6.12.86", "ffeeddccbbaa9988"), Baseline: good.Baseline,
		Accepted: good.Accepted, AcceptedBy: "learned", Attribution: []snapshot.Class{snapshot.ClassKernel, snapshot.ClassConfig},
		Changes: []Change{{"release", snapshot.ClassKernel, "6.12.43", "6.12.86"}, {"cmdline", snapshot.ClassConfig, "quiet", ""}},
		Findings: []snapshot.Finding{
			{Code: "disk-slower", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Subject: snapshot.SubjectRef{Kind: "hw.disk", ID: "naa.7"}, Attr: "size_bytes", Old: ptr(snapshot.Int(1 << 40)), New: ptr(snapshot.Int(1 << 39)), Message: "naa.7 is smaller"},
			{Code: "insns-doubled", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Subject: snapshot.SubjectRef{Kind: "bpf.probe", ID: "datapath/large_nat"}, Attr: "insns_processed",
				Old: ptr(snapshot.Int(104233)), New: ptr(snapshot.Int(312700)), Message: "datapath/large_nat: the verifier now walks 312,700 insns where it walked 104,233 insns (×3)", Hint: "hold this kernel back", Evidence: "log_tail: processed 312700 insns"},
			{Code: "pci-missing", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Subject: snapshot.SubjectRef{Kind: "hw.pci", ID: "pci0000:00/05.0", Label: "PERC H730"}, Message: "PERC H730 is gone",
				Behind: []snapshot.SubjectRef{{Kind: "hw.disk", ID: "a", Label: "sda"}, {Kind: "hw.disk", ID: "b"}, {Kind: "hw.disk", ID: "c"}, {Kind: "hw.disk", ID: "d"}, {Kind: "hw.raid", ID: "e"}}},
			{Code: "nic-renamed", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Subject: snapshot.SubjectRef{Kind: "net.interface", ID: "52:54:00:12:34:56"}, Attr: "name", Old: ptr(snapshot.Text("eth0")), New: ptr(snapshot.Text("evil\x1b[2J|name\n<b>")), Message: "was eth0, is evil\x1b[2J|name\n<b>"},
		},
		Incomplete: []snapshot.Gap{{Kind: "bpf.probe", ID: "limits/insns", Reason: "dropped to keep within the budget (about 1s)", Counts: true}, {Kind: "hw.sensor", ID: "x", Reason: "read x: input/output error"}},
		Counts:     []Count{{"bpf.probe", 120, 1}, {"hw.disk", 3, 0}}, Notes: []string{"events.jsonl: line 3 is damaged"}, Next: []string{"`lastgood check -v` shows the evidence."}, TookSeconds: 1.25}
	candidate := &Report{Verdict: snapshot.Regressed, Summary: "6.12.90 is worse for this host than what it is compared with: 1 critical finding", Current: identity("6.12.90", "1122334455667788"), Baseline: good.Baseline, Attribution: []snapshot.Class{snapshot.ClassKernel},
		Findings:  []snapshot.Finding{{Code: "driver-missing", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Subject: snapshot.SubjectRef{Kind: "kernel.candidate", ID: "module/megaraid_sas"}, Message: "0000:02:00.0 has no driver in 6.12.90: megaraid_sas is not in that kernel"}},
		Preflight: &Preflight{Kernel: "6.12.90", Flavour: "cloud-amd64", Package: "linux-image-6.12.90-cloud-amd64 6.12.90-1", Source: "package", Tested: true, Ran: &Ran{Release: "6.12.90", BuildID: "1122334455667788", Arch: "x86_64", Machine: "tcg, max,cx16=off"}},
		Next:      []string{"Stay on the running kernel until what got worse is settled; -v shows the evidence."}}
	regressed.Candidates = []Candidate{{Kernel: "6.12.90", Verdict: candidate.Verdict, Summary: candidate.Summary, Taken: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)}, {Kernel: "6.12.95\x1b[2J", Verdict: snapshot.Good, Summary: "nothing speaks against it"}}
	return map[string]*Report{
		"preflight.1":  candidate,
		"good.0":       good,
		"learned.0":    {Verdict: snapshot.Learned, Summary: "there was nothing to compare with yet", Current: good.Current},
		"regressed.1":  regressed,
		"incomplete.3": {Verdict: snapshot.Incomplete, Summary: "not everything could be measured: loading BPF programs needs root", Current: good.Current, Incomplete: []snapshot.Gap{{Kind: snapshot.SourceKind, ID: "bpf_probes", Reason: "loading BPF programs needs root", Counts: true}}},
		"invalid.4":    {Verdict: snapshot.Invalid, Summary: "this is not what was to be compared: another machine", Current: good.Current, Baseline: good.Baseline},
		"warned.0":     {Verdict: snapshot.Good, Summary: "this host came back the same way it went down, but for 1 warning", Current: good.Current, Findings: regressed.Findings[3:]},
		"empty.2":      {},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; rewrite with -update):\n%s", path, d)
	}
}

func TestFormats(t *testing.T) {
	for name, r := range reports() {
		name, status, _ := strings.Cut(name, ".")
		if fmt.Sprint(r.Verdict.ExitStatus()) != status {
			t.Errorf("%s exits with %d", name, r.Verdict.ExitStatus())
		}
		for _, format := range Formats() {
			var b bytes.Buffer
			if err := Write(&b, format, r, Options{}); err != nil {
				t.Fatalf("%s as %s: %v", name, format, err)
			}
			golden(t, fmt.Sprintf("%s.%d.%s", name, ExitStatus(format, r), format), b.Bytes())
			if format != "json" && format != "junit" {
				checkLines(t, format, b.String())
			}
		}
	}
	if err := Write(&bytes.Buffer{}, "klingon", &Report{}, Options{}); err == nil {
		t.Error("an unknown format was accepted")
	}
}

// checkLines fails on what must not reach a terminal and on untidy lines.
func checkLines(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not valid UTF-8: %q", what, text)
	}
	if !strings.HasSuffix(text, "\n") {
		t.Errorf("%s does not end its last line", what)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(r rune) bool { return r != utf8.RuneError && unsafeRune(r) || r == '\t' }) {
			t.Errorf("%s lets a control character through: %q", what, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("%s has blanks at the end of %q", what, line)
		}
	}
}

func TestTableManners(t *testing.T) {
	r := reports()["regressed.1"]
	var narrow, verbose, quiet, colour bytes.Buffer
	for _, x := range []struct {
		b *bytes.Buffer
		o Options
	}{{&narrow, Options{Width: 50}}, {&verbose, Options{Verbose: true}}, {&quiet, Options{Quiet: true}}, {&colour, Options{Color: true}}} {
		if err := Table(x.b, r, x.o); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "verbose.1.table", verbose.Bytes())
	checkLines(t, "narrow", narrow.String())
	for line := range strings.Lines(narrow.String()) {
		if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > 50 {
			t.Errorf("wider than 50 columns: %q", line)
		}
	}
	if n := strings.Count(quiet.String(), "\n"); n != 1 {
		t.Errorf("quiet took %d lines", n)
	}
	if !strings.Contains(colour.String(), "\x1b[1;31m") {
		t.Error("no colour where it was asked for")
	}
	var good bytes.Buffer
	if err := Table(&good, reports()["good.0"], Options{}); err != nil || strings.Count(good.String(), "\n") > 8 {
		t.Errorf("a good report takes more than 8 lines (%v):\n%s", err, &good)
	}
}

// Remarks of one kind are one line, for a new kernel brings dozens, and stand
// singly where they are few or asked for.
func TestRemarksAreFolded(t *testing.T) {
	r := &Report{Verdict: snapshot.Good, Summary: "s"}
	add := func(severity snapshot.Severity, code string, n int) {
		for i := range n {
			r.Findings = append(r.Findings, snapshot.Finding{Code: code, Severity: severity, Subject: snapshot.SubjectRef{Kind: "k", ID: fmt.Sprint(code, i)}, Message: "is other"})
		}
	}
	add(snapshot.Info, "many", 40)
	add(snapshot.Info, "three", 3)
	add(snapshot.Info, "two", 2)
	add(snapshot.Warning, "grave", 5)
	for verbose, want := range map[bool]int{false: 2 + 5, true: 40 + 3 + 2 + 5} {
		var b bytes.Buffer
		if err := Table(&b, r, Options{Verbose: verbose}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "is other"); got != want {
			t.Errorf("verbose %v: %d findings stand singly, want %d", verbose, got, want)
		}
		for _, line := range []string{"  info      many, 40 times: many0, many1, many2, …\n", "  info      three, 3 times: three0, three1, three2\n"} {
			if strings.Contains(b.String(), line) == verbose {
				t.Errorf("verbose %v: %q is there or not:\n%s", verbose, line, &b)
			}
		}
	}
}

// The indent of a wrapped line is not painted.
func TestIndentIsPlain(t *testing.T) {
	var b bytes.Buffer
	p := newPage(&b, Options{Color: true, Width: 40})
	p.line("lead: ", red, strings.Repeat("word ", 20))
	for i, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		if strings.Contains(line, "\x1b") != (i == 0) {
			t.Errorf("line %d: %q", i, line)
		}
	}
}

// What does not work any more on the host itself comes before what only foretells, and neither before what is worse.
func TestWorstFirst(t *testing.T) {
	finding := func(s snapshot.Severity, kind, attr string) snapshot.Finding {
		return snapshot.Finding{Severity: s, Code: kind + " " + attr, Subject: snapshot.SubjectRef{Kind: kind}, Attr: attr}
	}
	in := []snapshot.Finding{
		finding(snapshot.Warning, "bpf.program", "verdict"), finding(snapshot.Critical, "bpf.probe", "insns_processed"), finding(snapshot.Critical, "bpf.program", "insns_processed"),
		finding(snapshot.Critical, "bpf.probe", "verdict"), finding(snapshot.Critical, "hw.disk", ""), finding(snapshot.Info, "hw.disk", "name"), finding(snapshot.Critical, "bpf.program", "verdict"),
	}
	var have []string
	for _, f := range WorstFirst(in) {
		have = append(have, string(f.Severity)+" "+f.Code)
	}
	want := []string{"critical bpf.program verdict", "critical bpf.program insns_processed", "critical hw.disk ", "critical bpf.probe insns_processed", "critical bpf.probe verdict", "warning bpf.program verdict", "info hw.disk name"}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

// The numbers of a finding stand once, in its message or beneath it.
func TestNumbersStandOnce(t *testing.T) {
	for _, c := range []struct {
		message string
		want    bool
	}{
		{"walks 104,878 insns where it walked 28,929 insns (×3.63)", true},
		{"walks 104,878 insns where it walked 28,929 insns", false},
		{"walks 1,104,878 insns where it walked 28,929 insns (×3.63)", false},
		{"walks 104,878,000 insns where it walked 28,929 insns (×3.63)", false},
		{"walks 104,878 insns, was 28,929, which is ×3.6", false},
		{"×3.63 from 28,929 to 104,878.", true},
		{"walks more", false},
	} {
		old, now := snapshot.Int(28929), snapshot.Int(104878)
		r := &Report{Verdict: snapshot.Regressed, Findings: []snapshot.Finding{{Severity: snapshot.Critical, Code: "c", Attr: "insns_processed", Message: c.message, Old: &old, New: &now}}}
		var b bytes.Buffer
		if err := Table(&b, r, Options{}); err != nil {
			t.Fatal(err)
		}
		if once := !strings.Contains(b.String(), "28,929 → 104,878"); once != c.want {
			t.Errorf("%s: told once is %v, want %v:\n%s", c.message, once, c.want, b.String())
		}
	}
}

func TestOrderOfTheText(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, reports()["regressed.1"], Options{}); err != nil {
		t.Fatal(err)
	}
	rest := b.String()
	for _, want := range []string{"REGRESSED", "this boot:", "last good:", "changed:", "Findings", "pci-missing", "insns-doubled", "hint:", "disk-slower", "nic-renamed", "Could not be measured", "What to do next"} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Errorf("%q does not come in its turn", want)
			continue
		}
		rest = after
	}
}

func TestMachinesCanReadIt(t *testing.T) {
	for name, r := range reports() {
		var j, x bytes.Buffer
		if err := JSON(&j, r, Options{}); err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(j.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"schema", "verdict", "summary", "attribution", "findings", "incomplete", "took_seconds"} {
			if _, ok := doc[key]; !ok || doc[key] == nil {
				t.Errorf("%s: no %s", name, key)
			}
		}
		if back, err := Decode(j.Bytes()); err != nil || back.Verdict != r.Verdict || len(back.Findings) != len(r.Findings) {
			t.Errorf("%s: read back as %+v, %v", name, back, err)
		}
		if err := JUnit(&x, r, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(x.Bytes(), &junitSuite{}); err != nil {
			t.Errorf("%s: JUnit is no XML: %v", name, err)
		}
	}
}
