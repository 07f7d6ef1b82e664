package probes

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/loader"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestCatalogue keeps names as they are: baselines are compared by them.
func TestCatalogue(t *testing.T) {
	var b strings.Builder
	for _, f := range Families() {
		fmt.Fprintf(&b, "%s %s\n", f.Name, f.Shape)
		for _, c := range f.Cases {
			fmt.Fprintf(&b, "\t%s\n", c.Name)
		}
	}
	golden := filepath.Join("testdata", "catalogue.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("the catalogue changed (-golden +now):\n%s", d)
	}
}

// TestFamiliesAreDescribed: a person who meets a name in a report finds out what it
// means for programs.
func TestFamiliesAreDescribed(t *testing.T) {
	for _, f := range Families() {
		title, text, _ := strings.Cut(f.Doc, "\n")
		if !strings.HasSuffix(title, ".") || len(title) > 100 || len(text) < 120 {
			t.Errorf("%s: want a title of one short sentence and a text below it, got %q", f.Name, f.Doc)
		}
		for _, c := range f.Cases {
			if c.Cost <= 0 {
				t.Errorf("%s/%s has no cost", f.Name, c.Name)
			}
			if (c.Behind > 0) && f.Shape != Merge || (c.Penalty > 0) && f.Shape != Deduction || c.Risky != (f.Shape == Limit) {
				t.Errorf("%s/%s: what it carries does not go with the shape %s", f.Name, c.Name, f.Shape)
			}
		}
	}
}

func TestDeclaration(t *testing.T) {
	if _, err := source.Kinds(Sources()); err != nil {
		t.Error(err)
	}
	for _, r := range probeRules {
		if r.On != snapshot.OnMissing && !slices.Contains(r.Unless, "program") {
			t.Errorf("rule %s compares unlike programs", r.Code)
		}
	}
}

// TestProgramsAreUnlike: two cases that are one program would tell one thing twice.
func TestProgramsAreUnlike(t *testing.T) {
	seen := map[string]string{}
	for _, f := range Families() {
		for _, c := range f.Cases {
			id := f.Name + "/" + c.Name
			d := digestOf(t, c.Build)
			if other := seen[d]; other != "" {
				t.Errorf("%s and %s are the same program", id, other)
			}
			seen[d] = id
			if again := digestOf(t, c.Build); again != d {
				t.Errorf("%s is built unlike from time to time", id)
			}
		}
	}
}

func digestOf(t *testing.T, build func() (Program, error)) string {
	t.Helper()
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	var s snapshot.Subject
	if err := digest(&s, &p); err != nil {
		t.Fatal(err)
	}
	return s.Text("program")
}

func TestDigest(t *testing.T) {
	program := func(change func(*Program)) func() (Program, error) {
		return func() (Program, error) {
			p := Program{
				Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Imm(asm.R0, 0), asm.Return()}},
				Maps: map[string]*ebpf.MapSpec{"m": {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
			}
			if change != nil {
				change(&p)
			}
			return p, nil
		}
	}
	same := digestOf(t, program(nil))
	for name, change := range map[string]func(*Program){
		"constant":  func(p *Program) { p.Spec.Instructions[1].Constant = 1 },
		"type":      func(p *Program) { p.Spec.Type = ebpf.XDP },
		"flags":     func(p *Program) { p.Spec.Flags = 8 },
		"map size":  func(p *Program) { p.Maps["m"].MaxEntries = 2 },
		"map value": func(p *Program) { p.Maps["m"].Contents = []ebpf.MapKV{{Key: uint32(0), Value: uint32(7)}} },
		"map name":  func(p *Program) { p.Spec.Instructions[0] = p.Spec.Instructions[0].WithReference("n") },
	} {
		if digestOf(t, program(change)) == same {
			t.Errorf("another %s leaves the digest as it was", name)
		}
	}
}

// TestMayGotoLeavesTheLoop: the offset of a hand-made instruction is easily lost.
func TestMayGotoLeavesTheLoop(t *testing.T) {
	p, err := mayGoto("x", "x", nil, nil).Build()
	if err != nil {
		t.Fatal(err)
	}
	code, err := loader.EncodeInsns(p.Spec.Instructions)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(code); i += asm.InstructionSize {
		if code[i] == byte(opJCond) {
			if off := int16(code[i+2]) | int16(code[i+3])<<8; off != 1 {
				t.Errorf("may_goto leaves by %d insns, want 1: over the jump back", off)
			}
			return
		}
	}
	t.Error("there is no may_goto in the program")
}
