package probes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

func TestParseSymbol(t *testing.T) {
	for _, c := range []struct{ line, name, module string }{
		{"ffffffff81000000 T _stext", "_stext", ""},
		{"0000000000000000 t finish_task_switch.isra.0", "finish_task_switch.isra.0", ""},
		{"ffffffffc0400000 t nf_ct_get\t[nf_conntrack]", "nf_ct_get", "nf_conntrack"},
		{"ffffffffc0400000 t bpf_prog_6deef7357e7b4530\t[bpf]", "bpf_prog_6deef7357e7b4530", "bpf"},
		{"ffffffff82000000 W weak_one", "weak_one", ""},
		{"ffffffff82000000 D data", "", ""},
		{"ffffffff82000000 T ", "", ""},
		{" T name", "", ""},
		{"ffffffff82000000", "", ""},
		{"", "", ""},
	} {
		name, module, ok := parseSymbol([]byte(c.line))
		if string(name) != c.name || string(module) != c.module || ok != (c.name != "") {
			t.Errorf("%q: %q of %q, %v", c.line, name, module, ok)
		}
	}
}

// TestSymbolTable: a name that only the compiler's variants bear is renamed; parts of a
// function are taken for it where nothing better is there; what looks alike is not it.
func TestSymbolTable(t *testing.T) {
	for _, c := range []struct {
		wanted, list    string // NAME or NAME@MODULE
		state, suffixed string
		own             int
	}{
		{"f", "f", hasIt, "", 1},
		{"f", "f f.cold", hasIt, "f.cold", 1},
		{"f", "f f@mod f", hasIt, "", 2},
		{"f", "f@mod", inModule, "", 0},
		{"f", "f@bpf", lacksIt, "", 0},
		{"f", "g ff f2", lacksIt, "", 0},
		{"f", "f.isra.0", renamed, "f.isra.0", 0},
		{"f", "f.cold f.part.0 f.constprop.0.isra.1", renamed, "f.constprop.0.isra.1", 0},
		{"f", "f.constprop.0 f.constprop.0.cold", renamed, "f.constprop.0", 0},
		{"f", "f.part.0", renamed, "f.part.0", 0},
		{"f", "f.llvm.17439574839", renamed, "f.llvm.17439574839", 0},
		{"f", "f.other f.isra.x", lacksIt, "", 0},
		{"tcp_*", "udp_x tcp_a tcp_b", hasIt, "", 1},
		{"tcp_*", "tcp_a.isra.0", lacksIt, "", 0},
		{"tcp_?", "tcp_ab tcp_a@mod", inModule, "", 0},
		{"*_a", "tcp_b tcp_a", hasIt, "", 1},
		{"[st]cp", "tcp", lacksIt, "", 0}, // no pattern without a star or a question mark
		{"[st]cp*", "tcp", hasIt, "", 1},
	} {
		table := newSymbolTable([]string{c.wanted})
		for s := range strings.FieldsSeq(c.list) {
			name, module, _ := strings.Cut(s, "@")
			table.add([]byte(name), []byte(module))
		}
		got := table.get(c.wanted)
		if got.state() != c.state || got.suffixed != c.suffixed || got.own != c.own {
			t.Errorf("%s in %s: %s, called %q, %d times", c.wanted, c.list, got.state(), got.suffixed, got.own)
		}
	}
}

func TestParseFormat(t *testing.T) {
	b, err := os.ReadFile("testdata/format/sched_process_exec-6.18")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"common_type 0:2", "common_flags 2:1", "common_preempt_count 3:1", "common_pid 4:4", "__data_loc filename 8:4", "pid 12:4", "old_pid 16:4"}
	got, err := parseFormat(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, bad := range []string{"", "name: x\nformat:\n", "\tfield:int x;\toffset:a;\tsize:4;", "\tfield:int x;\toffset:4;", "\tfield:;\toffset:4;\tsize:4;", "print fmt: \"field:int x; offset:0; size:4;\""} {
		if f, err := parseFormat(bad); err == nil {
			t.Errorf("%q was read as %v", bad, f)
		}
	}
}

func TestHandedOn(t *testing.T) {
	for prototype, want := range map[string][]string{
		"void (void *, bool, struct task_struct *)":            {"00 bool", "01 struct task_struct *"},
		"void (void *, int (struct a *, u32) *, const char *)": {"00 int (struct a *, u32) *", "01 const char *"},
		"void (void *)":     nil,
		"void ()":           nil,
		"unknown":           nil,
		"void (void *, int": nil,
	} {
		if d := cmp.Diff(want, handedOn(prototype)); d != "" {
			t.Errorf("%s (-want +got):\n%s", prototype, d)
		}
	}
}

func TestParseKernelConfig(t *testing.T) {
	got, err := parseKernelConfig([]byte("#\n# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=17\nCONFIG_E=\"y\"\n B=y\nCONFIG_F=y"))
	if d := cmp.Diff(map[string]string{"B": "y", "C": "m", "F": "y"}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if got, err := parseKernelConfig([]byte("<html>")); err == nil {
		t.Errorf("a page was read as %v", got)
	}
}

// TestEachLine: a list that is too long, has too long a line or is wanted no longer is an
// error: a symbol that was not looked at is not missing.
func TestEachLine(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name, text, want string
		ctx              context.Context
	}{
		{"whole", "a\nb", "", t.Context()},
		{"long", strings.Repeat("line\n", 300), "longer than 1000 bytes", t.Context()},
		{"cancelled", "a\n", "context canceled", cancelled},
	} {
		err := scanLines(c.ctx, c.name, 1000, strings.NewReader(c.text), func([]byte) {})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := scanLines(t.Context(), "wide", 1<<20, strings.NewReader(strings.Repeat("x", maxSurfaceLine+1)), func([]byte) {}); err == nil {
		t.Error("a line without end was read")
	}
	name := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(name, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []*sysfs.Root{sysfs.Live(), sysfs.New(&sysfstest.FS{Files: map[string]string{name: "one\ntwo\n"}})} {
		var got []string
		if err := eachLine(t.Context(), root, name, 100, func(l []byte) { got = append(got, string(l)) }); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"one", "two"}, got); d != "" {
			t.Error(d)
		}
		if err := eachLine(t.Context(), root, name+".absent", 100, func([]byte) {}); !sysfs.Absent(err) {
			t.Errorf("what is not there: %v", err)
		}
	}
}

func FuzzParseSymbol(f *testing.F) {
	for _, line := range []string{"ffffffff81000000 T _stext", "0 t a.isra.0\t[mod]", "0 t a [", "0 t ["} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		name, module, ok := parseSymbol(line)
		if ok && len(name) == 0 || len(name)+len(module) > len(line) {
			t.Fatalf("%q: %q of %q", line, name, module)
		}
		if ok {
			table := newSymbolTable([]string{"a", "a*", "[", string(name)})
			table.add(name, module)
			if got := table.get(string(name)); string(module) != "bpf" && !strings.ContainsAny(string(name), ".*?") && got.state() != hasIt && got.state() != inModule {
				t.Fatalf("%q is not found in itself: %s", name, got.state())
			}
		}
	})
}

func FuzzParseFormat(f *testing.F) {
	files, err := filepath.Glob("testdata/format/*")
	if err != nil || len(files) == 0 {
		f.Fatal("no recorded formats", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := parseFormat(text)
		if (err == nil) != (len(fields) > 0) {
			t.Fatalf("%d fields, %v", len(fields), err)
		}
	})
}

func FuzzParseKernelConfig(f *testing.F) {
	f.Add([]byte("CONFIG_B=y\n# CONFIG_A is not set\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseKernelConfig(text)
		if (err == nil) != (len(set) > 0) {
			t.Fatalf("%v, %v", set, err)
		}
	})
}

func FuzzHandedOn(f *testing.F) {
	f.Add("void (void *, int (struct a *, u32) *, const char *)")
	f.Fuzz(func(t *testing.T, prototype string) {
		for _, a := range handedOn(prototype) {
			if len(a) < 3 || len(a) > len(prototype)+8 {
				t.Fatalf("%q", a)
			}
		}
	})
}
