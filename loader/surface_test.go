package loader

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

func wantsOf(t testing.TB, name string) *Wants {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ReadWants(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestReadWants: what an object leans on is read without a kernel; what it asks for
// first is told apart.
func TestReadWants(t *testing.T) {
	w := wantsOf(t, "testdata/surface.o")
	types := map[string]bool{}
	for _, n := range w.Types {
		types[n.String()] = n.Asked
	}
	if d := cmp.Diff(map[string]bool{"field task_struct.__state": true, "field task_struct.pid": false, "field task_struct.state": false}, types); d != "" {
		t.Errorf("types that are asked for (-want +got):\n%s", d)
	}
	want := Wants{
		Kfuncs: []KfuncWant{{"bpf_rcu_read_lock", false}, {"bpf_session_cookie", true}, {"bpf_wq_set_callback_impl", false}, {"cgroup_rstat_flush", false}},
		Attach: []AttachWant{{AttachFentry, "tcp_connect"}, {AttachKprobe, "do_sys_openat2"}, {AttachKprobe, "finish_task_switch"},
			{AttachKprobeMulti, "tcp_*"}, {AttachRawTracepoint, "sched_switch"}, {AttachTracepoint, "sched/sched_switch"}},
		Programs: []string{"asks", "entry", "many", "packet", "reads", "record", "returns", "typed", "user"},
		Kinds:    []string{"Kprobe", "RawTracepoint", "SchedCLS", "TracePoint", "Tracing"},
	}
	w.Types = nil
	if d := cmp.Diff(want, *w); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestHasAgreesWithLacks: what is not there is what Lacks says, of whatever the kernel
// is without.
func TestHasAgreesWithLacks(t *testing.T) {
	w := wantsOf(t, "testdata/needs.o")
	for _, leave := range []string{"", "optional", "parent", "attrs", "former", "gone_type", "kind"} {
		k := kernelTypes(t, leave)
		lacks, err := k.Lacks(bytes.NewReader(needsObject(t)))
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, n := range lacks {
			want = append(want, n.String())
		}
		for i := range w.Types {
			has, layout, err := k.Has(&w.Types[i])
			if err != nil || has != (layout != "") {
				t.Errorf("without %q: %s: has %v, layout %q, %v", leave, w.Types[i].Need, has, layout, err)
			}
			if !has && w.Types[i].Name != "kernfs_node.optional" { // which the program asks for
				got = append(got, w.Types[i].String())
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("without %q (-lacks +has not):\n%s", leave, d)
		}
	}
}

func TestLayout(t *testing.T) {
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	inner := &btf.Struct{Name: "inner", Size: 8, Members: []btf.Member{{Name: "x", Type: integer}, {Name: "y", Type: integer, Offset: 32}}}
	outer := &btf.Struct{Name: "outer", Size: 64, Members: []btf.Member{
		{Name: "", Type: &btf.Union{Size: 8, Members: []btf.Member{{Name: "u", Type: inner}}}, Offset: 64},
		{Name: "all", Type: &btf.Array{Index: integer, Type: inner, Nelems: 3}, Offset: 128},
		{Name: "bits", Type: integer, Offset: 325, BitfieldSize: 3},
		{Name: "p", Type: &btf.Const{Type: &btf.Pointer{Target: &btf.Volatile{Type: inner}}}, Offset: 384}}}
	k := kernelOf(t, outer, &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "A", Value: 3}}})
	for _, c := range []struct{ what, name, want string }{
		{"field", "outer.u.y", "offset 12, 4 bytes, int"},
		{"field", "outer.all", "offset 16, 24 bytes, struct inner[3]"},
		{"field", "outer.all.y", "offset 20, 4 bytes, int"},
		{"field", "outer.bits", "bit 325, 3 bits, int"},
		{"field", "outer.p", "offset 48, 8 bytes, const volatile struct inner *"},
		{"field", "outer.none", ""},
		{"field", "none.x", ""},
		{"type", "outer", "64 bytes"},
		{"value", "e.A", "value 3"},
		{"value", "e.B", ""},
	} {
		if got := k.layout(Need{c.what, c.name}); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.what, c.name, got, c.want)
		}
	}
}

func rawOf(t testing.TB, types ...btf.Type) []byte {
	t.Helper()
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.NativeEndian})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func kernelOf(t testing.TB, types ...btf.Type) *Kernel {
	t.Helper()
	k, err := ReadKernel(bytes.NewReader(rawOf(t, types...)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sampleRaw(t testing.TB) []byte {
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	task := &btf.Struct{Name: "task_struct", Size: 4, Members: []btf.Member{{Name: "pid", Type: integer}}}
	proto := &btf.FuncProto{Return: integer, Params: []btf.FuncParam{
		{Name: "task", Type: &btf.Pointer{Target: &btf.Const{Type: task}}}, {Name: "mem__sz", Type: &btf.Typedef{Name: "u32", Type: integer}}}}
	return rawOf(t,
		&btf.Func{Name: "bpf_use", Type: proto, Linkage: btf.StaticFunc, Tags: []string{"bpf_kfunc"}},
		&btf.Func{Name: "plain", Type: &btf.FuncProto{Return: (*btf.Void)(nil)}, Linkage: btf.StaticFunc},
		&btf.Typedef{Name: "btf_trace_sched_switch", Type: &btf.Pointer{Target: proto}},
		&btf.Struct{Name: "trace_event_raw_sched_switch", Size: 4, Members: []btf.Member{{Name: "pid", Type: integer}}})
}

func TestTypeInfo(t *testing.T) {
	info, err := ReadTypeInfo(sampleRaw(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	const proto = "int (const struct task_struct *, u32 __sz)"
	want := map[string]Function{"bpf_use": {proto, true}, "plain": {"void ()", false}, "btf_trace_sched_switch": {proto, false}}
	got := info.Functions(map[string]bool{"bpf_use": true, "plain": true, "btf_trace_sched_switch": true, "absent": true, "task_struct": true})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("prototypes (-want +got):\n%s", d)
	}
	c := info.Census()
	for name, m := range map[string]map[string]uint32{"bpf_use": c.Kfuncs, "sched_switch": c.Tracepoints} {
		if d := cmp.Diff([]string{name}, slices.Collect(maps.Keys(m))); d != "" {
			t.Errorf("census (-want +got):\n%s", d)
		}
	}
	if len(c.Records) != 1 || c.Kinds["func"] != 2 || c.Kinds["decl_tag"] != 1 || c.Kinds["enum64"] != 0 {
		t.Errorf("%+v", c)
	}
}

// TestTypeInfoOfModule: a module's types and names go on where the kernel's end.
func TestTypeInfoOfModule(t *testing.T) {
	base, err := ReadTypeInfo(sampleRaw(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var id uint32 // of the base's struct task_struct
	for i := range base.at {
		if r := base.typ(uint32(i + 1)); r.kind() == rawStruct && string(base.text(r.name())) == "task_struct" {
			id = uint32(i + 1)
		}
	}
	words := []uint32{0, rawPtr << 24, id, 0, rawFuncProto<<24 | 1, 0, 0, uint32(len(base.at)) + 1, uint32(len(base.names)) + 1, rawFunc << 24, uint32(len(base.at)) + 2}
	names := "\x00mod_func\x00"
	raw := binary.NativeEndian.AppendUint16(nil, typeInfoMagic)
	raw = append(raw, 1, 0)
	for _, w := range append([]uint32{typeInfoHeader, 0, uint32(4 * len(words)), uint32(4 * len(words)), uint32(len(names))}, words...) {
		raw = binary.NativeEndian.AppendUint32(raw, w)
	}
	module, err := ReadTypeInfo(append(raw, names...), base)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]Function{"mod_func": {"void (struct task_struct *)", false}}, module.Functions(map[string]bool{"mod_func": true})); d != "" {
		t.Error(d)
	}
}

func TestTypeInfoBadInput(t *testing.T) {
	good := sampleRaw(t)
	change := func(at int, b byte) []byte {
		c := bytes.Clone(good)
		c[at] = b
		return c
	}
	for name, raw := range map[string][]byte{
		"nothing": nil, "text": []byte(strings.Repeat("no BTF ", 9)), "cut": good[:len(good)-40], "version": change(2, 9),
		"sections": change(15, 0xff), "kind": change(typeInfoHeader+7, 0x1f), "odd length": change(12, good[12]-1),
	} {
		if _, err := ReadTypeInfo(raw, nil); err == nil {
			t.Errorf("%s was read as type information", name)
		}
	}
}

// TestTypeInfoAgreesWithLibrary: over this kernel's own types both readers find the same.
func TestTypeInfoAgreesWithLibrary(t *testing.T) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	info, err := ReadTypeInfo(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ReadKernel(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name := range info.Census().Tracepoints {
		typ, err := k.spec.AnyTypeByName(tracepointPrefix + name)
		if err != nil {
			t.Fatal(err)
		}
		proto, ok := typ.(*btf.Typedef).Type.(*btf.Pointer).Target.(*btf.FuncProto)
		if !ok {
			continue
		}
		got := info.Functions(map[string]bool{tracepointPrefix + name: true})[tracepointPrefix+name].Prototype
		if params := strings.Count(got, ",") + 1; !strings.Contains(got, "(*)") && params < len(proto.Params) {
			t.Errorf("%s: %q, want %d parameters", name, got, len(proto.Params))
		}
		if n++; n == 50 {
			break
		}
	}
	if n == 0 {
		t.Error("no tracepoint was found")
	}
}

// FuzzTypeInfo: whatever it holds, type information is read or refused, and looked at in
// bounded time.
func FuzzTypeInfo(f *testing.F) {
	f.Add(sampleRaw(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := ReadTypeInfo(raw, nil)
		if err != nil {
			return
		}
		info.Census()
		for name, f := range info.Functions(map[string]bool{"bpf_use": true, "plain": true}) {
			if p := f.Prototype; p == "" || len(p) > 2*maxPrototype+len(raw) {
				t.Fatalf("%s: a prototype of %d bytes", name, len(f.Prototype))
			}
		}
	})
}

// FuzzReadWants: whatever an object holds, it is read or refused.
func FuzzReadWants(f *testing.F) {
	for _, name := range []string{"testdata/surface.o", "testdata/needs.o"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	k := kernelTypes(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := ReadWants(bytes.NewReader(b))
		if err != nil {
			return
		}
		for i := range w.Types {
			if w.Types[i].Name == "" {
				t.Fatal("a need without a name")
			}
			_, _, _ = k.Has(&w.Types[i]) // an answer or an error, never a fault
		}
	})
}

func BenchmarkTypeInfo(b *testing.B) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		info, err := ReadTypeInfo(raw, nil)
		if err != nil {
			b.Fatal(err)
		}
		info.Census()
	}
}
