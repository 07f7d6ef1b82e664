package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func openTest(t *testing.T, name string, o ObjectOptions) *Object {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	obj, err := ReadObject(b, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(obj.Close)
	return obj
}

// anObject is an object made by hand, as OpenObject would leave it.
func anObject(t *testing.T, programs []*ebpf.ProgramSpec, maps map[string]*ebpf.MapSpec, o ObjectOptions) *Object {
	t.Helper()
	spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{}, Maps: maps}
	obj := &Object{spec: spec, about: map[string]*aboutProgram{}, made: map[string]madeMap{}, sums: map[string][]byte{}}
	for _, p := range programs {
		spec.Programs[p.Name] = p
	}
	if err := obj.shapeMaps(o.Inner); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := obj.settle(p, o.Types); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(obj.Close)
	return obj
}

func ret0(name, section string, typ ebpf.ProgramType) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, SectionName: section, Type: typ, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}}
}

func TestSectionType(t *testing.T) {
	for section, want := range map[string]ebpf.ProgramType{
		"2/7": ebpf.SchedCLS, "1/0x1af": ebpf.SchedCLS, "from-netdev": ebpf.SchedCLS, "from-container": ebpf.SchedCLS, "to-host": ebpf.SchedCLS,
		"cls_main": ebpf.SchedCLS, "tc_ingress": ebpf.SchedCLS, "classifier/a": ebpf.SchedCLS, "xdp_prog": ebpf.XDP, "xdp-filter": ebpf.XDP, "xdp1": ebpf.XDP,
		"?tc-x": ebpf.SchedCLS, "action": ebpf.UnspecifiedProgram, "kprobe_x": ebpf.Kprobe, "static": ebpf.UnspecifiedProgram, "tcp": ebpf.UnspecifiedProgram, "": ebpf.UnspecifiedProgram,
	} {
		if got := sectionType(section); got != want {
			t.Errorf("%q: %v, want %v", section, got, want)
		}
	}
}

func TestTypesAreGiven(t *testing.T) {
	o := anObject(t, []*ebpf.ProgramSpec{ret0("main", "odd", 0), ret0("other", "stranger", 0)}, nil, ObjectOptions{Types: map[string]string{"od?": "sched_cls"}})
	if o.Spec("main").Type != ebpf.SchedCLS || o.Skip("main") != "" {
		t.Errorf("%v, %q", o.Spec("main").Type, o.Skip("main"))
	}
	if !strings.Contains(o.Skip("other"), "section stranger") {
		t.Errorf("a program without a type: %q", o.Skip("other"))
	}
	p := ret0("main", "odd", 0)
	if err := o.settle(p, map[string]string{"odd": "scheduled_class"}); err == nil || !strings.Contains(err.Error(), `no program type "scheduled_class"`) {
		t.Error(err)
	}
	if err := o.settle(p, map[string]string{"[": "xdp"}); err == nil {
		t.Error("a pattern that makes no sense is taken")
	}
}

func TestReplacementsStandForThemselves(t *testing.T) {
	with := func(params ...btf.FuncParam) *ebpf.ProgramSpec {
		p := ret0("replacement", "freplace/f", ebpf.Extension)
		p.AttachTo = "f"
		p.Instructions[0] = btf.WithFuncMetadata(p.Instructions[0], &btf.Func{Name: "replacement", Type: &btf.FuncProto{Return: &btf.Int{Size: 4}, Params: params}})
		return p
	}
	ctx := btf.FuncParam{Name: "ctx", Type: &btf.Pointer{Target: &btf.Struct{Name: "xdp_md", Size: 24}}}
	o := anObject(t, []*ebpf.ProgramSpec{with(ctx)}, nil, ObjectOptions{})
	if p := o.Spec("replacement"); p.Type != ebpf.XDP || p.AttachTo != "" || !strings.Contains(o.Approximate("replacement"), "measured as a xdp program") {
		t.Errorf("%v %q: %q", p.Type, p.AttachTo, o.Approximate("replacement"))
	}
	for _, params := range [][]btf.FuncParam{nil, {{Type: &btf.Int{Size: 4}}}, {ctx, ctx}} {
		if o := anObject(t, []*ebpf.ProgramSpec{with(params...)}, nil, ObjectOptions{}); o.Skip("replacement") == "" {
			t.Errorf("%v is measured as something", params)
		}
	}
}

func TestMapsAreMadeSmall(t *testing.T) {
	legacy := func(id, inner uint32) *bytes.Reader {
		b := binary.NativeEndian.AppendUint32(nil, id)
		b = binary.NativeEndian.AppendUint32(b, 2) // pinning
		b = binary.NativeEndian.AppendUint32(b, inner)
		return bytes.NewReader(binary.NativeEndian.AppendUint32(b, 0))
	}
	maps := map[string]*ebpf.MapSpec{
		"hash":   {Type: ebpf.LRUHash, KeySize: 4, ValueSize: 4, MaxEntries: 1 << 24, Pinning: 1 << 4},
		"array":  {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 5000},
		"empty":  {Type: ebpf.Array, KeySize: 4, ValueSize: 4},
		"calls":  {Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 9, Contents: []ebpf.MapKV{{Key: uint32(0), Value: "main"}}},
		"ring":   {Type: ebpf.RingBuf, MaxEntries: 1 << 28},
		"events": {Type: ebpf.PerfEventArray, KeySize: 4, ValueSize: 4},
		"a":      {Type: ebpf.Array, KeySize: 4, ValueSize: 64, MaxEntries: 3, Extra: legacy(7, 0)},
		"outer":  {Type: ebpf.HashOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 100, Extra: legacy(0, 7)},
	}
	o := anObject(t, nil, maps, ObjectOptions{})
	got := map[string]uint32{}
	for name, m := range maps {
		got[name] = m.MaxEntries
		if m.Pinning != ebpf.PinNone || m.Extra != nil {
			t.Errorf("%s: pinning %v, extra %v", name, m.Pinning, m.Extra)
		}
	}
	want := map[string]uint32{"hash": 1, "array": 5000, "empty": 1, "calls": 9, "ring": uint32(os.Getpagesize()), "events": 0, "a": 3, "outer": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if len(maps["calls"].Contents) != 0 {
		t.Error("a table of tail calls is to be filled")
	}
	if in := maps["outer"].InnerMap; in == nil || in.ValueSize != 64 || len(o.Notes()) != 0 {
		t.Errorf("inner map by its id: %v, notes %q", in, o.Notes())
	}
}

func TestInnerMaps(t *testing.T) {
	outer := func() map[string]*ebpf.MapSpec {
		return map[string]*ebpf.MapSpec{"outer": {Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 2}}
	}
	user := func() *ebpf.ProgramSpec {
		p := ret0("main", "xdp", ebpf.XDP)
		p.Instructions = append(asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("outer")}, p.Instructions...)
		return p
	}
	m := outer()
	o := anObject(t, []*ebpf.ProgramSpec{user()}, m, ObjectOptions{})
	if m["outer"].InnerMap == nil || !strings.Contains(o.Approximate("main"), "is a guess") || len(o.Notes()) != 1 {
		t.Errorf("a guess: %v, %q, %q", m["outer"].InnerMap, o.Approximate("main"), o.Notes())
	}
	m = outer()
	shape := map[string]MapShape{"outer": {Type: "hash", KeySize: 16, ValueSize: 8, MaxEntries: 512}, "stranger": {Type: "hash"}}
	o = anObject(t, []*ebpf.ProgramSpec{user()}, m, ObjectOptions{Inner: shape})
	if in := m["outer"].InnerMap; in == nil || in.Type != ebpf.Hash || in.KeySize != 16 || o.Approximate("main") != "" || !strings.Contains(strings.Join(o.Notes(), ""), "stranger") {
		t.Errorf("as given: %v, %q, %q", in, o.Approximate("main"), o.Notes())
	}
	if err := o.giveInner("outer", m["outer"], map[string]MapShape{"outer": {Type: "has"}}); err == nil {
		t.Error("a type that there is not is taken")
	}
}

func TestMapFailures(t *testing.T) {
	fail := func(err error) Measurement { return mapFailure(&MapError{Name: "m", Err: err}) }
	for name, c := range map[string]struct {
		err     error
		verdict Verdict
		reason  Reason
	}{
		"not known":  {unix.EINVAL, Rejected, ReasonMaps},
		"no memory":  {unix.ENOMEM, "", ReasonMemory},
		"no right":   {unix.EPERM, "", ReasonPermission},
		"too large":  {&tooLargeError{1 << 30}, "", ReasonMemory},
		"unfinished": {errUnfinished, "", ReasonMaps},
		"library's":  {errors.New("what?"), "", ReasonMaps},
	} {
		m := fail(c.err)
		if m.Verdict != c.verdict || m.Reason != c.reason || m.Phase != PhaseMapCreate || (m.Verdict == "") != (m.Inconclusive != "") || !strings.Contains(m.Cause, "create map m") {
			t.Errorf("%s: %+v", name, m)
		}
		if m.Stats.InsnsProcessed.Set {
			t.Errorf("%s: insns of a program that was not loaded", name)
		}
	}
}

func TestObjectOnThisKernel(t *testing.T) {
	needBPF(t)
	o := openTest(t, "elf.o", ObjectOptions{})
	types := btf.NewCache()
	m := o.Measure(t.Context(), "core_lost", types)
	if m.Phase != PhaseRelocate || m.Reason != ReasonBTF || m.Cause != "task_struct.no_such_member_here is gone" || m.Stats.InsnsProcessed.Set {
		t.Errorf("a field that is not there: %+v", m)
	}
	if m = o.Measure(t.Context(), "functions", types); m.Verdict != Accepted || !m.Stats.InsnsProcessed.Set {
		t.Errorf("a plain program: %+v", m)
	}
	big := map[string]*ebpf.MapSpec{"big": {Type: ebpf.Array, KeySize: 4, ValueSize: 1 << 20, MaxEntries: 1 << 10}}
	p := ret0("main", "xdp", ebpf.XDP)
	p.Instructions = append(asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("big")}, p.Instructions...)
	if m = anObject(t, []*ebpf.ProgramSpec{p}, big, ObjectOptions{}).Measure(t.Context(), "main", types); !strings.Contains(m.Inconclusive, "1024 MiB") {
		t.Errorf("a map of a gigabyte: %+v", m)
	}
}

func TestDigestFollowsWhatIsVerified(t *testing.T) {
	a, b := openTest(t, "elf.o", ObjectOptions{}), openTest(t, "elf.o", ObjectOptions{})
	seen := map[string]string{}
	for _, name := range a.Programs() {
		d1, err1 := a.Digest(name)
		d2, err2 := b.Digest(name)
		if err1 != nil || err2 != nil || d1 != d2 {
			t.Errorf("%s: %q %v, %q %v", name, d1, err1, d2, err2)
		}
		if seen[d1] != "" {
			t.Errorf("%s has the digest of %s", name, seen[d1])
		}
		seen[d1] = name
	}
	spec := b.Spec("functions")
	spec.Instructions[0].Constant++
	if d1, _ := a.Digest("functions"); d1 == must(b.Digest("functions")) {
		t.Error("another insn, the same digest")
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

// TestListedProgramsAreTheObjects proves that the table of symbols lists what the
// library finds when it reads all of the object.
func TestListedProgramsAreTheObjects(t *testing.T) {
	paths, _ := filepath.Glob("../bpf/*.o")
	if len(paths) == 0 {
		t.Fatal("no objects")
	}
	for _, p := range append(paths, "testdata/elf.o", "testdata/needs.o") {
		f := ObjectFile{Path: p}
		b, err := f.Read()
		if err != nil {
			t.Fatal(err)
		}
		listed, err := ListPrograms(b)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, l := range listed {
			names = append(names, l.Name)
			if l.Insns == 0 {
				t.Errorf("%s: %s has no insns", p, l.Name)
			}
		}
		o, err := ReadObject(b, ObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o.Programs(), names); diff != "" {
			t.Errorf("%s (-read +listed):\n%s", p, diff)
		}
	}
}

func TestObjectFileReads(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.o")
	if err := os.WriteFile(name, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := ObjectFile{Path: name, Digest: DigestBytes([]byte("bytes"))}
	if b, err := f.Read(); err != nil || string(b) != "bytes" {
		t.Errorf("%q, %v", b, err)
	}
	f.Digest = DigestBytes([]byte("other"))
	if _, err := f.Read(); err == nil || !strings.Contains(err.Error(), "not what it was") {
		t.Error(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, MaxObject+1); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{fifo: "no regular file", dir: "no regular file", huge: "64 MiB", filepath.Join(dir, "gone"): "no such file"} {
		f := ObjectFile{Path: path}
		if _, err := f.Read(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestObjectFileLoads(t *testing.T) {
	for _, c := range []struct {
		only []string
		want []string
	}{
		{nil, []string{"a", "ab", "b"}},
		{[]string{"a*"}, []string{"a", "ab"}},
		{[]string{"!b"}, []string{"a", "ab"}},
		{[]string{"a*", "!ab"}, []string{"a"}},
	} {
		f := ObjectFile{Only: c.only}
		got := slices.DeleteFunc([]string{"a", "ab", "b"}, func(s string) bool { return !f.Loads(s) })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.only, diff)
		}
	}
}

func FuzzObject(f *testing.F) {
	for _, p := range []string{"testdata/elf.o", "testdata/needs.o", "../bpf/path_walker_small_bpfel.o"} {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		listed, lerr := ListPrograms(b)
		if lerr == nil && len(listed) == 0 {
			t.Error("no programs, and no error")
		}
		o, err := ReadObject(b, ObjectOptions{Values: []byte(`{"x":1}`)})
		if err != nil {
			return
		}
		defer o.Close()
		for _, name := range o.Programs() {
			_, _ = o.Digest(name)
			_, _, _ = o.Skip(name), o.Approximate(name), o.mapsOf(o.Spec(name))
		}
	})
}
