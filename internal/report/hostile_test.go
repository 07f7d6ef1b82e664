package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// everywhere is a report and a snapshot in which every text that may come from
// outside is s.
func everywhere(s string) (*Report, *snapshot.Snapshot) {
	v := snapshot.Text(s)
	id := &snapshot.Identity{Kernel: snapshot.KernelIdentity{Release: s, Version: s, BuildID: s, Arch: s, Cmdline: s}, BootID: s, Product: s, Errs: map[string]string{s: s}}
	ref := snapshot.SubjectRef{Kind: s, ID: s, Label: s}
	r := &Report{Verdict: snapshot.Regressed, Summary: s, Baseline: id, Current: id, Accepted: time.Unix(1, 0), AcceptedBy: s, Attribution: []snapshot.Class{snapshot.Class(s)},
		Changes:    []Change{{s, snapshot.Class(s), s, s}},
		Findings:   []snapshot.Finding{{Code: s, Severity: snapshot.Severity(s), Class: snapshot.Class(s), Subject: ref, Attr: s, Old: &v, New: &v, Message: s, Hint: s, Evidence: s, Behind: []snapshot.SubjectRef{ref}}},
		Incomplete: []snapshot.Gap{{Kind: s, ID: s, Label: s, Reason: s, Counts: true}}, Counts: []Count{{Kind: s, Other: 1}}, Notes: []string{s}, Next: []string{s}}
	snap := &snapshot.Snapshot{Tool: s, Phase: s, Identity: *id}
	for _, kind := range []string{"bpf.probe", "bpf.program", "hw." + s, "net.interface"} {
		attrs := snapshot.Attrs{"verdict": snapshot.Text("rejected"), "reason": v, "cause": v, "model": v, s: v, "prog_type": v, "total_states": v}
		snap.Subjects = append(snap.Subjects,
			snapshot.Subject{Kind: kind, ID: s, Label: s, Outcome: snapshot.Measured, Attrs: attrs, Errs: map[string]string{s: s}},
			snapshot.Subject{Kind: kind, ID: s + "1", Parent: kind + "/" + s, Outcome: snapshot.Outcome(s), Reason: s, Attrs: attrs})
	}
	return r, snap
}

// checkHostile writes everything there is with s in every place.
func checkHostile(t *testing.T, s string) {
	t.Helper()
	r, snap := everywhere(s)
	for _, verdict := range []snapshot.Verdict{snapshot.Regressed, snapshot.Good, snapshot.Verdict(s)} {
		r.Verdict = verdict
		for _, format := range Formats() {
			checkFormat(t, format, r, Options{})
		}
		checkFormat(t, "table", r, Options{Verbose: true, Width: 60})
		checkFormat(t, "table", r, Options{Quiet: true})
	}
	for _, o := range []Options{{}, {Verbose: true, Width: 60}} {
		var b bytes.Buffer
		for _, err := range []error{Programs(&b, snap, o), Inventory(&b, snap, nil, o), Snapshot(&b, snap, nil, o), ProgramsCSV(&b, snap),
			History(&b, []Row{{BootID: s, Release: s, Verdict: snapshot.Verdict(s)}, {BootID: s, Trouble: s}}, o)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		checkLines(t, "tables", b.String())
	}
}

func checkFormat(t *testing.T, format string, r *Report, o Options) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, r, o); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	text := b.String()
	switch format {
	case "json":
		if _, err := Decode(b.Bytes()); err != nil {
			t.Errorf("cannot be read back: %v", err)
		}
		return
	case "junit":
		if err := xml.Unmarshal(b.Bytes(), &junitSuite{}); err != nil || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
			t.Errorf("not XML (%v): %q", err, text)
		}
		return
	case "nagios":
		if strings.Count(text, "\n") != 1 || strings.Count(text, "|") != 1 {
			t.Errorf("not one line with one bar: %q", text)
		}
	case "npd":
		if strings.Count(text, "\n") != 1 || len(text) > npdLength+1 {
			t.Errorf("not one line of %d bytes: %q", npdLength, text)
		}
	}
	checkLines(t, format, text)
}

func TestHostileNames(t *testing.T) {
	for name, s := range map[string]string{
		"empty":         "",
		"escape":        "evil\x1b[2J\x1b]0;title\x07",
		"C1":            "a\u009b31mb",
		"bidi":          "abc\u202egood\u202c",
		"line ends":     "one\nGOOD: all is well\r\n\u2028two\vthree\f",
		"invalid UTF-8": "a\xff\xfe\xc3(b\xed\xa0\x80",
		"NUL":           "\x00",
		"markup":        `<script>"&]]>|` + "`*_[x](http://x)![y](z)\\ # HELP x 1\"} 2",
		"not for XML":   "\ufffe\uffff\ufffd",
		"long word":     strings.Repeat("x", longText+200),
		"long text":     strings.Repeat("many words and ", longText/12),
		"long in bytes": strings.Repeat("€", 200),
		"blanks":        "   \t ",
	} {
		t.Run(name, func(t *testing.T) { checkHostile(t, s) })
	}
}

// A name must not be able to write a line that reads as one of lastgood's own.
func TestNoForgedLine(t *testing.T) {
	r, snap := everywhere("x\nGOOD: all is well\nx")
	var b bytes.Buffer
	for _, format := range []string{"table", "markdown", "nagios", "npd"} {
		if err := Write(&b, format, r, Options{Verbose: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Inventory(&b, snap, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := Programs(&b, snap, Options{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "GOOD") || strings.HasPrefix(line, "**GOOD") {
			t.Errorf("forged: %q", line)
		}
	}
}

// A long text is cut for a person and whole for a machine.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("word ", 100_000)
	r := &Report{Verdict: snapshot.Regressed, Summary: "s", Findings: []snapshot.Finding{{Severity: snapshot.Critical, Message: long, Evidence: long}}}
	var table, doc bytes.Buffer
	if err := Table(&table, r, Options{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	if n := table.Len(); n > 10_000 {
		t.Errorf("the table took %d bytes", n)
	}
	if err := JSON(&doc, r, Options{}); err != nil {
		t.Fatal(err)
	}
	if back, err := Decode(doc.Bytes()); err != nil || back.Findings[0].Message != long {
		t.Errorf("the document lost the message (%v)", err)
	}
}

// A value that a finding does not have is not made up.
func TestMissingValues(t *testing.T) {
	n := func(i int) *snapshot.Value { return ptr(snapshot.Int(i)) }
	for _, test := range []struct {
		attr     string
		was, is  *snapshot.Value
		want     string
		describe string
	}{
		{"insns_processed", n(104233), n(312700), "104,233 → 312,700 insns, ×3", "insns"},
		{"insns_processed", n(100), n(125), "100 → 125 insns, ×1.25", "a little more"},
		{"insns_processed", nil, n(5), "now 5 insns", "no old value"},
		{"insns_processed", n(5), nil, "was 5 insns", "no new value"},
		{"insns_processed", nil, nil, "", "no value"},
		{"insns_processed", n(0), n(5), "0 → 5 insns", "from nothing: no ratio"},
		{"size_bytes", n(1 << 40), n(1 << 39), "1 TiB (1,099,511,627,776 bytes) → 512 GiB (549,755,813,888 bytes), ×0.5", "bytes"},
		{"temp_celsius", ptr(snapshot.Float(40)), ptr(snapshot.Float(81.5)), "40 °C → 81.5 °C", "a ratio of temperatures says nothing"},
		{"driver", ptr(snapshot.Text("a")), ptr(snapshot.Text("")), "a → ", "texts"},
		{"insns", ptr(snapshot.Value{}), n(1), "- → 1 insns", "a null"},
		{"helpers", ptr(snapshot.Text(strings.Repeat("x", 50))), n(1), strings.Repeat("x", 40) + "… → 1", "long"},
	} {
		if got := oldToNew(&snapshot.Finding{Attr: test.attr, Old: test.was, New: test.is}); got != test.want {
			t.Errorf("%s: got %q, want %q", test.describe, got, test.want)
		}
	}
}

func TestBehindCounts(t *testing.T) {
	ref := func(kind string, ids ...string) (out []snapshot.SubjectRef) {
		for _, id := range ids {
			out = append(out, snapshot.SubjectRef{Kind: kind, ID: id})
		}
		return out
	}
	for want, refs := range map[string][]snapshot.SubjectRef{
		"1 disk behind it (a)":                          ref("hw.disk", "a"),
		"2 PCI devices, 1 boot behind it (a, b, c)":     append(ref("hw.pci", "a", "b"), ref("boot", "c")...),
		"6 entries behind it (a, b, c, d, …)":           ref("boot.entry", "a", "b", "c", "d", "e", "f"),
		"2 USB devices, 2 units behind it (a, b, c, d)": append(ref("hw.usb", "a", "b"), ref("service.unit", "c", "d")...),
	} {
		if got := behind(refs); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDecodeOtherDocuments(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		schema bool // a *SchemaError is wanted, else ErrNotReport
	}{
		"newer":         {`{"schema":"lastgood.report/v2","findings":{}}`, true},
		"older":         {`{"schema":"lastgood.report/v0"}`, true},
		"snapshot":      {`{"schema":"lastgood.snapshot/v1"}`, false},
		"no schema":     {`{"findings":[]}`, false},
		"empty schema":  {`{"schema":""}`, false},
		"schema number": {`{"schema":"lastgood.report/vx"}`, false},
	} {
		_, err := Decode([]byte(test.text))
		var se *SchemaError
		if errors.As(err, &se) != test.schema || errors.Is(err, ErrNotReport) == test.schema {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	for _, text := range []string{"", "[", "[]", `"x"`, "{", `{"schema":1}`, `{"schema":"lastgood.report/v1","findings":{}}`} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
	r, err := Decode([]byte(`{"schema":"lastgood.report/v1","verdict":"dreamt","colour":1,"findings":[{"old":null,"new":{"x":1},"new_field":[]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.ExitStatus() != 2 || r.Findings[0].Old != nil || r.Findings[0].New.String() != `{"x":1}` {
		t.Errorf("read as %+v", r)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\x1b[2Jb", "a,b\"c|d\ne", "\xff\u202e\u2028", "x\n\n \n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) < 1<<12 {
			checkHostile(t, s)
		}
	})
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := JSON(&b, reports()["regressed.1"], Options{}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema":"lastgood.report/v1","findings":[{"old":{},"new":[1],"severity":"\u001b"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Decode(in)
		if err != nil {
			return
		}
		for _, format := range Formats() {
			if format == "json" {
				if err := Write(&bytes.Buffer{}, format, r, Options{}); err != nil && r.Taken.Year() < 9999 && r.Accepted.Year() < 9999 {
					t.Fatal(err)
				}
				continue
			}
			checkFormat(t, format, r, Options{Verbose: true, Width: 60})
		}
		if w := utf8.RuneCountInString(verdictWord(r)); w == 0 {
			t.Fatal("no verdict is named")
		}
	})
}
