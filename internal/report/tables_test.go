package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

func programs() *snapshot.Snapshot {
	probe := func(id, verdict string, attrs snapshot.Attrs) snapshot.Subject {
		attrs.Set("verdict", snapshot.Text(verdict))
		return snapshot.Subject{Kind: "bpf.probe", ID: id, Outcome: snapshot.Measured, Attrs: attrs}
	}
	s := &snapshot.Snapshot{Tool: "lastgood 1", Phase: "probe", Identity: *identity("6.12.43", "aa"), Subjects: []snapshot.Subject{
		probe("datapath/large", "accepted", snapshot.Attrs{"insns_processed": snapshot.Int(104233), "insns_limit": snapshot.Int(1_000_000), "total_states": snapshot.Int(4000), "stack_depth": snapshot.Int(320), "verification_seconds": snapshot.Float(0.0625), "jited_bytes": snapshot.Int(5000), "xlated_bytes": snapshot.Int(9000)}),
		probe("limit/insns", "rejected", snapshot.Attrs{"reason": snapshot.Text("too_complex"), "cause": snapshot.Text("BPF program is too large. Processed 1000001 insn")}),
		{Kind: "bpf.program", ID: "flow.o/from,host\n", Outcome: snapshot.Measured, Errs: map[string]string{"jited_bytes": "operation not permitted"},
			Attrs: snapshot.Attrs{"verdict": snapshot.Text("accepted"), "insns": snapshot.Int(33), "mark_read": snapshot.Int(2), "prog_type": snapshot.Text("cgroup_skb"), "attach_type": snapshot.Text("cgroup_inet_egress")}},
		{Kind: "bpf.program", ID: "lonely", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"verdict": snapshot.Text("rejected")}},
		{Kind: "bpf.program", ID: "silent/one", Outcome: snapshot.Measured},
		{Kind: "bpf.probe", ID: "limit/slow", Outcome: snapshot.Skipped, Reason: "budget"},
		{Kind: "hw.pci", ID: "pci0000:00/05.0", Label: "PERC", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"driver": snapshot.Text("megaraid_sas")}},
		{Kind: "hw.disk", ID: "naa.1", Label: "sda", Parent: "hw.pci/pci0000:00/05.0", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"name": snapshot.Text("sda"), "size_bytes": snapshot.Int(1 << 40)}, Errs: map[string]string{"model": "input/output error"}},
		{Kind: "hw.disk", ID: "naa.2", Label: "sdb\x1b[2J", Parent: "hw.pci/pci0000:00/05.0", Outcome: snapshot.Inconclusive, Reason: "no answer"},
		{Kind: "hw.disk", ID: "naa.3", Label: "MODEL (rev 2)", Parent: "hw.raid/gone", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"model": snapshot.Text("Disk (TM) of a maker"), "size_bytes": snapshot.Int(500107862016)}},
		{Kind: "hw.usb", ID: "c", Parent: "hw.usb/c", Outcome: snapshot.Measured},
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
	rows := []Row{
		{Taken: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC), BootID: "0123456789", Release: "6.12.86", Verdict: snapshot.Regressed, Critical: 2, Current: true},
		{BootID: "abcdef\x1b[31m", Trouble: "checksum does not match\x1b[2J", LastGood: true}, {BootID: "ffff", Release: "6.12.43"}, {Verdict: "dreamt\x1b"},
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"programs.table":          func(b *bytes.Buffer) error { return Programs(b, programs(), Options{}) },
		"programs.verbose.table":  func(b *bytes.Buffer) error { return Programs(b, programs(), Options{Verbose: true}) },
		"programs.csv":            func(b *bytes.Buffer) error { return ProgramsCSV(b, programs()) },
		"inventory.table":         func(b *bytes.Buffer) error { return Inventory(b, programs(), kinds, Options{}) },
		"inventory.verbose.table": func(b *bytes.Buffer) error { return Inventory(b, programs(), kinds, Options{Verbose: true, Width: 60}) },
		"inventory.none.table":    func(b *bytes.Buffer) error { return Inventory(b, &snapshot.Snapshot{}, kinds, Options{}) },
		"snapshot.table":          func(b *bytes.Buffer) error { return Snapshot(b, programs(), kinds, Options{}) },
		"preflight.all.table": func(b *bytes.Buffer) error {
			r := reports()
			untested := &Report{Verdict: snapshot.Incomplete, Preflight: &Preflight{Kernel: "6.12.91-rt\x1b[31m", Reason: "its flavour is rt-amd64, the running kernel's is amd64"}}
			return PreflightTable(b, []*Report{r["preflight.1"], untested}, Options{})
		},
		"history.table":   func(b *bytes.Buffer) error { return History(b, rows, Options{}) },
		"nohistory.table": func(b *bytes.Buffer) error { return History(b, nil, Options{}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
		checkLines(t, name, b.String())
	}
}

// Colours take no room: without them the table is the same.
func TestColoursTakeNoRoom(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer, Options) error{
		"programs":  func(b *bytes.Buffer, o Options) error { return Programs(b, programs(), o) },
		"inventory": func(b *bytes.Buffer, o Options) error { return Inventory(b, programs(), nil, o) },
		"history": func(b *bytes.Buffer, o Options) error {
			return History(b, []Row{{BootID: "a", Verdict: snapshot.Good, LastGood: true}, {BootID: "b", Trouble: "x"}}, o)
		},
		"report": func(b *bytes.Buffer, o Options) error { return Table(b, reports()["regressed.1"], o) },
	} {
		var without, with bytes.Buffer
		if err := write(&without, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := write(&with, Options{Color: true}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(with.String(), "\x1b[") {
			t.Errorf("%s: no colour where it was asked for", name)
		}
		if d := cmp.Diff(without.String(), ansi.ReplaceAllString(with.String(), "")); d != "" {
			t.Errorf("%s (-without +with):\n%s", name, d)
		}
	}
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Every subject of the hardware is in the tree once, whatever its parents are.
func TestInventoryLosesNothing(t *testing.T) {
	s := &snapshot.Snapshot{}
	for i := range 300 { // a chain, a circle, a star and orphans, by the parent's number
		parent := ""
		switch {
		case i%100 != 0 && i < 100:
			parent = fmt.Sprintf("hw.disk/%03d", i-1)
		case i >= 100 && i < 200:
			parent = fmt.Sprintf("hw.disk/%03d", 100+(i+1)%100)
		case i >= 200:
			parent = fmt.Sprintf("hw.disk/%03d", i*7%400)
		}
		s.Subjects = append(s.Subjects, snapshot.Subject{Kind: "hw.disk", ID: fmt.Sprintf("%03d", i), Parent: parent, Outcome: snapshot.Measured})
	}
	var b bytes.Buffer
	if err := Inventory(&b, s, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 301 { // and one that says elsewhere
		t.Errorf("%d lines for 300 subjects and a head", n)
	}
	for i := range 300 {
		if n := strings.Count(b.String(), fmt.Sprintf(" %03d\n", i)); n != 1 {
			t.Errorf("subject %03d stands %d times", i, n)
		}
	}
}

// veristat's reader takes runs of commas for one and wants every field.
func TestCSVFields(t *testing.T) {
	var b bytes.Buffer
	if err := ProgramsCSV(&b, programs()); err != nil {
		t.Fatal(err)
	}
	want := 15 // default_csv_output_spec
	for line := range strings.Lines(b.String()) {
		if got := strings.FieldsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r == ',' }); len(got) != want {
			t.Errorf("%d fields, want %d: %q", len(got), want, line)
		}
	}
}

// A small part of a limit is little, and nothing is nothing.
func TestShareOfTheLimit(t *testing.T) {
	for insns, want := range map[int64]string{0: "0.00 %", 7: "< 0.01 %", 49: "< 0.01 %", 50: "0.01 %", 104233: "10.42 %", 1000000: "100.00 %"} {
		s := &snapshot.Subject{Attrs: snapshot.Attrs{"insns_processed": snapshot.Int(insns), "insns_limit": snapshot.Int(1000000)}}
		if have := share(s); have != want {
			t.Errorf("%d: %s, want %s", insns, have, want)
		}
	}
}
