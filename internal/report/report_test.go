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
		Accepted: time.Date(2026, 11, 20, 3, 4, 5, 0, time.UTC), AcceptedBy: "root", TookSeconds: 0.5}
	regressed := &Report{Verdict: snapshot.Regressed, Summary: "this boot is worse than the last good one: 2 critical findings, 1 warning", Current: identity("6.12.86", "ffeeddccbbaa9988"), Baseline: good.Baseline,
		Accepted: good.Accepted, AcceptedBy: "learned", Attribution: []snapshot.Class{snapshot.ClassKernel, snapshot.ClassConfig},
		Changes: []Change{{"release", snapshot.ClassKernel, "6.12.43", "6.12.86"}, {"cmdline", snapshot.ClassConfig, "quiet", ""}},
		Findings: []snapshot.Finding{
			{Code: "insns-doubled", Severity: snapshot.Critical, Class: snapshot.ClassKernel, Subject: snapshot.SubjectRef{Kind: "bpf.probe", ID: "datapath/large_nat"}, Attr: "insns_processed",
				Old: ptr(snapshot.Int(104233)), New: ptr(snapshot.Int(312700)), Message: "datapath/large_nat: the verifier now walks 312,700 insns where it walked 104,233 insns (×3)", Hint: "hold this kernel back", Evidence: "log_tail: processed 312700 insns"},
			{Code: "pci-missing", Severity: snapshot.Critical, Class: snapshot.ClassHardware, Subject: snapshot.SubjectRef{Kind: "hw.pci", ID: "pci0000:00/05.0", Label: "PERC H730"}, Message: "PERC H730 is gone",
				Behind: []snapshot.SubjectRef{{Kind: "hw.disk", ID: "a", Label: "sda"}, {Kind: "hw.disk", ID: "b"}, {Kind: "hw.disk", ID: "c"}, {Kind: "hw.disk", ID: "d"}, {Kind: "hw.disk", ID: "e"}}},
			{Code: "nic-renamed", Severity: snapshot.Warning, Class: snapshot.ClassHardware, Subject: snapshot.SubjectRef{Kind: "net.interface", ID: "52:54:00:12:34:56"}, Attr: "name", Old: ptr(snapshot.Text("eth0")), New: ptr(snapshot.Text("evil\x1b[2J|name\n<b>")), Message: "was eth0, is evil\x1b[2J|name\n<b>"},
		},
		Incomplete: []snapshot.Gap{{Kind: "bpf.probe", ID: "limits/insns", Reason: "dropped to keep within the budget (about 1s)", Counts: true}, {Kind: "hw.sensor", ID: "x", Reason: "read x: input/output error"}},
		Counts:     []Count{{"bpf.probe", 120, 1}, {"hw.disk", 3, 0}}, Notes: []string{"events.jsonl: line 3 is damaged"}, Next: []string{"`lastgood check -v` shows the evidence."}, TookSeconds: 1.25}
	return map[string]*Report{
		"good.0":       good,
		"learned.0":    {Verdict: snapshot.Learned, Summary: "there was nothing to compare with yet", Current: good.Current},
		"regressed.1":  regressed,
		"incomplete.3": {Verdict: snapshot.Incomplete, Summary: "not everything could be measured: loading BPF programs needs root", Current: good.Current, Incomplete: []snapshot.Gap{{Kind: snapshot.SourceKind, ID: "bpf_probes", Reason: "loading BPF programs needs root", Counts: true}}},
		"invalid.4":    {Verdict: snapshot.Invalid, Summary: "this is not what was to be compared: another machine", Current: good.Current, Baseline: good.Baseline},
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
		if want := name[strings.LastIndexByte(name, '.')+1:]; fmt.Sprint(r.Verdict.ExitStatus()) != want {
			t.Errorf("%s exits with %d", name, r.Verdict.ExitStatus())
		}
		for _, format := range Formats() {
			var b bytes.Buffer
			if err := Write(&b, format, r, Options{}); err != nil {
				t.Fatalf("%s as %s: %v", name, format, err)
			}
			golden(t, name+"."+format, b.Bytes())
			for _, r := range b.String() {
				if format != "json" && r == 0x1b {
					t.Errorf("%s as %s lets an escape sequence through", name, format)
				}
			}
		}
	}
	if err := Write(&bytes.Buffer{}, "klingon", &Report{}, Options{}); err == nil {
		t.Error("an unknown format was accepted")
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
	for line := range strings.Lines(narrow.String()) {
		if len([]rune(strings.TrimRight(line, "\n"))) > 50 && len(strings.Fields(line)) > 2 {
			t.Errorf("wider than 50 columns: %q", line)
		}
		if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
			t.Errorf("blanks at the end of %q", line)
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

func TestOrderOfTheText(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, reports()["regressed.1"], Options{}); err != nil {
		t.Fatal(err)
	}
	rest := b.String()
	for _, want := range []string{"REGRESSED", "this boot:", "last good:", "Findings", "critical", "warning", "Could not be measured", "What to do next"} {
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

func programs() *snapshot.Snapshot {
	probe := func(id, verdict string, attrs snapshot.Attrs) snapshot.Subject {
		attrs.Set("verdict", snapshot.Text(verdict))
		return snapshot.Subject{Kind: "bpf.probe", ID: id, Outcome: snapshot.Measured, Attrs: attrs}
	}
	s := &snapshot.Snapshot{Tool: "lastgood 1", Phase: "probe", Identity: *identity("6.12.43", "aa"), Subjects: []snapshot.Subject{
		probe("datapath/large", "accepted", snapshot.Attrs{"insns_processed": snapshot.Int(104233), "insns_limit": snapshot.Int(1_000_000), "total_states": snapshot.Int(4000), "stack_depth": snapshot.Int(320), "verification_seconds": snapshot.Float(0.0625), "jited_bytes": snapshot.Int(5000), "xlated_bytes": snapshot.Int(9000)}),
		probe("limit/insns", "rejected", snapshot.Attrs{"reason": snapshot.Text("too_complex"), "cause": snapshot.Text("BPF program is too large. Processed 1000001 insn")}),
		{Kind: "bpf.probe", ID: "limit/slow", Outcome: snapshot.Skipped, Reason: "budget"},
		{Kind: "hw.pci", ID: "pci0000:00/05.0", Label: "PERC", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"driver": snapshot.Text("megaraid_sas")}},
		{Kind: "hw.disk", ID: "naa.1", Label: "sda", Parent: "hw.pci/pci0000:00/05.0", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"name": snapshot.Text("sda"), "size_bytes": snapshot.Int(1 << 40)}, Errs: map[string]string{"model": "input/output error"}},
		{Kind: "hw.disk", ID: "naa.2", Label: "sdb\x1b[2J", Parent: "hw.pci/pci0000:00/05.0", Outcome: snapshot.Inconclusive, Reason: "no answer"},
		{Kind: "hw.usb", ID: "a", Parent: "hw.usb/b", Outcome: snapshot.Measured},
		{Kind: "hw.usb", ID: "b", Parent: "hw.usb/a", Outcome: snapshot.Measured},
	}}
	if err := s.Sort(); err != nil {
		panic(err)
	}
	return s
}

func TestTables(t *testing.T) {
	kinds, err := snapshot.NewKinds(snapshot.Kind{Name: "hw.disk", Doc: "d", Attrs: []snapshot.Attr{{Name: "size_bytes", Unit: snapshot.Bytes, Doc: "d"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"programs.table":  func(b *bytes.Buffer) error { return Programs(b, programs(), Options{Verbose: true}) },
		"programs.csv":    func(b *bytes.Buffer) error { return ProgramsCSV(b, programs()) },
		"inventory.table": func(b *bytes.Buffer) error { return Inventory(b, programs(), kinds, Options{}) },
		"snapshot.table":  func(b *bytes.Buffer) error { return Snapshot(b, programs(), kinds, Options{}) },
		"history.table": func(b *bytes.Buffer) error {
			return History(b, []Row{{Taken: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC), BootID: "0123456789", Release: "6.12.86", Verdict: snapshot.Regressed, Critical: 2, Current: true},
				{BootID: "abcdef", Trouble: "checksum does not match"}, {BootID: "ffff", Release: "6.12.43", LastGood: true}}, Options{})
		},
		"nohistory.table": func(b *bytes.Buffer) error { return History(b, nil, Options{}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
		if strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s lets an escape sequence through", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := JSON(&b, reports()["regressed.1"], Options{}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema":"lastgood.report/v1","findings":[{"old":{},"new":[1]}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Decode(in)
		if err != nil {
			return
		}
		for _, format := range Formats() {
			var out bytes.Buffer
			if err := Write(&out, format, r, Options{Verbose: true, Width: 60}); err != nil && format != "json" {
				t.Fatalf("%s: %v", format, err)
			}
			if format == "table" && strings.ContainsRune(out.String(), 0x1b) {
				t.Fatal("an escape sequence came through")
			}
		}
	})
}
