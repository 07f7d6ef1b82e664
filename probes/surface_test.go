package probes

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// Files of a host that a surface is read from.
const (
	kallsyms  = "/proc/kallsyms"
	traceable = "/sys/kernel/tracing/available_filter_functions"
	switchFmt = "/sys/kernel/tracing/events/sched/sched_switch/format"
	config    = "/boot/config-6.1"
)

// surfaceTypes are the types of a kernel that has what surface.o needs; change may take
// something away, and untagged functions are not marked for programs.
func surfaceTypes(t testing.TB, change func(task *btf.Struct, functions map[string]*btf.FuncProto), untagged ...string) string {
	t.Helper()
	long, integer := &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}, &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	task := &btf.Struct{Name: "task_struct", Size: 64, Members: []btf.Member{{Name: "state", Type: &btf.Volatile{Type: long}, Offset: 128}, {Name: "pid", Type: integer, Offset: 256}}}
	ptr := &btf.Pointer{Target: task}
	functions := map[string]*btf.FuncProto{
		"bpf_rcu_read_lock":        {Return: (*btf.Void)(nil)},
		"bpf_wq_set_callback_impl": {Return: integer, Params: []btf.FuncParam{{Name: "wq", Type: ptr}, {Name: "aux__ign", Type: ptr}}},
		"bpf_session_cookie":       {Return: &btf.Pointer{Target: long}},
		"cgroup_rstat_flush":       {Return: (*btf.Void)(nil)},
		"tcp_connect":              {Return: integer, Params: []btf.FuncParam{{Name: "sk", Type: ptr}}},
		"btf_trace_sched_switch":   {Return: (*btf.Void)(nil), Params: []btf.FuncParam{{Name: "__data", Type: ptr}, {Name: "preempt", Type: integer}, {Name: "prev", Type: ptr}}},
	}
	if change != nil {
		change(task, functions)
	}
	types := []btf.Type{task}
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		if strings.HasPrefix(name, tracepointPrefix) {
			types = append(types, &btf.Typedef{Name: name, Type: &btf.Pointer{Target: functions[name]}})
			continue
		}
		f := &btf.Func{Name: name, Type: functions[name], Linkage: btf.StaticFunc}
		if strings.HasPrefix(name, "bpf_") && !slices.Contains(untagged, name) {
			f.Tags = []string{"bpf_kfunc"}
		}
		types = append(types, f)
	}
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.NativeEndian})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func surfaceHost(t testing.TB) *sysfstest.FS {
	t.Helper()
	format, err := os.ReadFile("testdata/format/sched_switch-6.18")
	if err != nil {
		t.Fatal(err)
	}
	return &sysfstest.FS{Files: map[string]string{
		defaultBTF: surfaceTypes(t, nil),
		kallsyms:   "0 t finish_task_switch\n0 T do_sys_openat2\n0 T tcp_connect\n0 t tcp_v4_rcv\n0 D tcp_prot\n",
		traceable:  "finish_task_switch\ndo_sys_openat2\ntcp_connect\ntcp_v4_rcv [tcp]\n",
		switchFmt:  string(format),
		config:     "CONFIG_BPF=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_BPF_JIT=y\nCONFIG_NET_CLS_BPF=m\nCONFIG_VXLAN=m\n",

		"/proc/sys/kernel/osrelease": "6.1\n",
	}}
}

func surfaceObject(t testing.TB) Object {
	t.Helper()
	b, err := os.ReadFile("../loader/testdata/surface.o")
	if err != nil {
		t.Fatal(err)
	}
	return Object{"surface.o", bytes.NewReader(b)}
}

func readSurface(t testing.TB, root *sysfs.Root, objects ...Object) []snapshot.Subject {
	t.Helper()
	out, err := ReadSurface(t.Context(), root, objects), t.Context().Err()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func surfaceSnapshot(subjects []snapshot.Subject, build string) *snapshot.Snapshot {
	var kinds []string
	for _, k := range SurfaceKinds() {
		kinds = append(kinds, k.Name)
	}
	s := &snapshot.Snapshot{Tool: "test", Subjects: append(slices.Clone(subjects), snapshot.Subject{
		Kind: snapshot.SourceKind, ID: "surface", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(kinds...)}})}
	s.Identity.Kernel = snapshot.KernelIdentity{BuildID: build, Arch: "x86_64"}
	s.Identity.MachineID = "m"
	slices.SortFunc(s.Subjects, func(a, b snapshot.Subject) int { return a.Key().Compare(b.Key()) })
	return s
}

func judgeSurface(t testing.TB, old, new []snapshot.Subject) []snapshot.Finding {
	t.Helper()
	kinds, err := snapshot.NewKinds(SurfaceKinds()...)
	if err != nil {
		t.Fatal(err)
	}
	return compare.Judge(surfaceSnapshot(old, "a"), surfaceSnapshot(new, "b"), kinds, compare.Policy{}).Findings
}

// TestSurfaceRules: what is said of a kernel that changed, one thing at a time.
func TestSurfaceRules(t *testing.T) {
	types := func(change func(*btf.Struct, map[string]*btf.FuncProto)) func(*sysfstest.FS) {
		return func(f *sysfstest.FS) { f.Files[defaultBTF] = surfaceTypes(t, change) }
	}
	text := func(file, from, to string) func(*sysfstest.FS) {
		return func(f *sysfstest.FS) { f.Files[file] = strings.Replace(f.Files[file], from, to, 1) }
	}
	without := func(name string) func(*sysfstest.FS) {
		return types(func(_ *btf.Struct, f map[string]*btf.FuncProto) { delete(f, name) })
	}
	for _, c := range []struct {
		name   string
		change func(*sysfstest.FS)
		want   []string
	}{
		{"nothing", func(*sysfstest.FS) {}, nil},
		{"a field is renamed", types(func(s *btf.Struct, _ map[string]*btf.FuncProto) { s.Members[0].Name = "__state" }),
			[]string{"critical type-gone field/task_struct.state", "info layouts-changed layouts", "info type-back field/task_struct.__state"}},
		{"a field moves", types(func(s *btf.Struct, _ map[string]*btf.FuncProto) { s.Members[1].Offset = 320 }), []string{"info layouts-changed layouts"}},
		{"a kfunc is gone", without("bpf_wq_set_callback_impl"), []string{"critical kfunc-gone bpf_wq_set_callback_impl", "info kfuncs-changed kfuncs"}},
		{"a weak kfunc is gone", without("bpf_session_cookie"), []string{"info kfunc-gone-weak bpf_session_cookie", "info kfuncs-changed kfuncs"}},
		{"a kfunc takes another", types(func(_ *btf.Struct, f map[string]*btf.FuncProto) {
			f["bpf_rcu_read_lock"].Params = []btf.FuncParam{{Name: "x", Type: f["tcp_connect"].Return}}
		}),
			[]string{"warning kfunc-changed bpf_rcu_read_lock", "info kfuncs-changed kfuncs"}},
		{"a kfunc is marked no longer", func(f *sysfstest.FS) { f.Files[defaultBTF] = surfaceTypes(t, nil, "bpf_rcu_read_lock") },
			[]string{"warning kfunc-untagged bpf_rcu_read_lock", "info kfuncs-changed kfuncs"}},
		{"a kfunc that nobody calls comes", types(func(_ *btf.Struct, f map[string]*btf.FuncProto) { f["bpf_new"] = f["tcp_connect"] }), []string{"info kfuncs-changed kfuncs"}},
		{"a function has no types", without("tcp_connect"), []string{"critical symbol-untyped fentry/tcp_connect"}},
		{"a tracepoint is gone", func(f *sysfstest.FS) {
			without("btf_trace_sched_switch")(f)
			delete(f.Files, switchFmt)
			f.Files["/sys/kernel/tracing/events/x/format"] = ""
		},
			[]string{"critical tracepoint-gone raw/sched_switch", "critical tracepoint-gone record/sched/sched_switch", "info tracepoints-changed tracepoints", "info type-kinds-lost types"}},
		{"a tracepoint hands on more", types(func(_ *btf.Struct, f map[string]*btf.FuncProto) {
			p := f["btf_trace_sched_switch"]
			p.Params = append(p.Params, p.Params[1])
		}), []string{"info tracepoints-changed tracepoints", "info tracepoint-arguments-grew raw/sched_switch"}},
		{"a tracepoint hands on something before", types(func(_ *btf.Struct, f map[string]*btf.FuncProto) {
			p := f["btf_trace_sched_switch"]
			p.Params = slices.Insert(p.Params, 1, p.Params[0])
		}), []string{"warning tracepoint-arguments-changed raw/sched_switch", "info tracepoints-changed tracepoints"}},
		{"a record moves", text(switchFmt, "offset:24;", "offset:28;"), []string{"warning tracepoint-record-changed record/sched/sched_switch"}},
		{"a record grows", text(switchFmt, "\nprint fmt", "\tfield:int more;\toffset:64;\tsize:4;\tsigned:1;\n\nprint fmt"), []string{"info tracepoint-record-grew record/sched/sched_switch"}},
		{"a record's types go by other names", text(switchFmt, "field:pid_t", "field:int"), nil},
		{"a function is renamed by the compiler", text(kallsyms, "finish_task_switch", "finish_task_switch.isra.0"), []string{"critical symbol-renamed kprobe/finish_task_switch"}},
		{"a function is gone", text(kallsyms, "0 t finish_task_switch\n", ""), []string{"critical symbol-gone kprobe/finish_task_switch"}},
		{"a name is of two", text(kallsyms, "0 t finish_task_switch\n", "0 t finish_task_switch\n1 t finish_task_switch\n"), []string{"warning symbol-ambiguous kprobe/finish_task_switch"}},
		{"ftrace lists it no longer", text(traceable, "do_sys_openat2\ntcp_connect\n", ""), []string{"critical symbol-untraceable-entry fentry/tcp_connect", "info symbol-untraceable-kprobe kprobe/do_sys_openat2"}},
		{"no function fits a pattern", text(kallsyms, "0 T tcp_connect\n0 t tcp_v4_rcv\n", "0 T tcp_connect.isra.0\n"), []string{"critical symbol-renamed fentry/tcp_connect", "critical symbol-gone kprobe.multi/tcp_*"}},
		{"an option that programs need is gone", text(config, "CONFIG_NET_CLS_BPF=m", ""), []string{"critical option-lost NET_CLS_BPF"}},
		{"an option is a module now", text(config, "CONFIG_BPF_JIT=y", "CONFIG_BPF_JIT=m"), []string{"info option-now-module BPF_JIT"}},
		{"an option that nobody needs is gone", text(config, "CONFIG_VXLAN=m", ""), []string{"info options-changed options"}},
		{"tracefs is not mounted", func(f *sysfstest.FS) { f.Removed = []string{"/sys/kernel/tracing"} }, nil},
		{"symbols cannot be read", func(f *sysfstest.FS) { f.Errs = map[string]error{kallsyms: unix.EPERM, traceable: unix.EPERM} }, nil},
		{"types cannot be read", func(f *sysfstest.FS) { f.Errs = map[string]error{defaultBTF: unix.EIO} }, nil},
		{"types are cut off", func(f *sysfstest.FS) { f.Files[defaultBTF] = f.Files[defaultBTF][:100] }, nil},
		{"the recording has no types", func(f *sysfstest.FS) { f.Removed = []string{defaultBTF} }, nil},
		{"the configuration is not there", func(f *sysfstest.FS) { f.Removed = []string{config} }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := readSurface(t, sysfs.New(surfaceHost(t)), surfaceObject(t))
			host := surfaceHost(t)
			c.change(host)
			var got []string
			for _, f := range judgeSurface(t, old, readSurface(t, sysfs.New(host), surfaceObject(t))) {
				got = append(got, string(f.Severity)+" "+f.Code+" "+f.Subject.ID)
				if strings.ContainsAny(f.Message+f.Hint, "{}") {
					t.Errorf("not all of it is filled in: %s %s", f.Message, f.Hint)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestSurfaceOfNobody: where no program uses anything, nothing can be critical and no
// list of symbols is read.
func TestSurfaceOfNobody(t *testing.T) {
	old, host := surfaceHost(t), surfaceHost(t)
	host.Files = map[string]string{"/proc/sys/kernel/osrelease": "6.1", config: "CONFIG_X=y", defaultBTF: surfaceTypes(t, func(s *btf.Struct, f map[string]*btf.FuncProto) {
		s.Members = nil
		clear(f)
		f["bpf_other"] = &btf.FuncProto{Return: (*btf.Void)(nil)}
	})}
	for _, f := range judgeSurface(t, readSurface(t, sysfs.New(old)), readSurface(t, sysfs.New(host))) {
		if f.Severity != snapshot.Info || f.Subject.Kind != kindSurface {
			t.Errorf("%s %s %s", f.Severity, f.Code, f.Subject.ID)
		}
	}
	if slices.Contains(old.Asked(), kallsyms) {
		t.Error("symbols were read although nobody attaches to any")
	}
}

// TestSurfaceOutcomes: what could not be told is neither there nor gone.
func TestSurfaceOutcomes(t *testing.T) {
	host := surfaceHost(t)
	host.Errs = map[string]error{kallsyms: unix.EPERM, traceable: unix.EPERM, config: unix.EACCES, switchFmt: unix.EIO}
	got := map[string]snapshot.Outcome{}
	for _, s := range readSurface(t, sysfs.New(host), surfaceObject(t), Object{"broken.o", strings.NewReader("no object")}) {
		if s.Outcome != snapshot.Measured {
			got[s.Kind+" "+s.ID] = s.Outcome
			if !strings.HasPrefix(s.Reason, "could not tell: ") {
				t.Errorf("%s: %q", s.ID, s.Reason)
			}
		}
	}
	want := map[string]snapshot.Outcome{"kernel.surface object/broken.o": snapshot.Inconclusive, "kernel.surface options": snapshot.Inconclusive,
		"kernel.symbol kprobe/do_sys_openat2": snapshot.Inconclusive, "kernel.symbol kprobe/finish_task_switch": snapshot.Inconclusive,
		"kernel.symbol kprobe.multi/tcp_*": snapshot.Inconclusive, "kernel.tracepoint record/sched/sched_switch": snapshot.Inconclusive}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestSurfaceOfAKernelWithoutTypes: it says so once, and not of everything that is
// looked up in them.
func TestSurfaceOfAKernelWithoutTypes(t *testing.T) {
	old := readSurface(t, sysfs.New(surfaceHost(t)), surfaceObject(t))
	r := surface{root: sysfs.New(surfaceHost(t))}
	r.gather([]Object{surfaceObject(t)})
	none := &kernelTypes{err: errNoBTF}
	new := slices.Concat(r.typeSubjects(none), r.kfuncSubjects(t.Context(), none), none.rest(&r))
	var got []string
	for _, f := range judgeSurface(t, old, new) {
		got = append(got, string(f.Severity)+" "+f.Code)
	}
	if d := cmp.Diff([]string{"critical type-information-lost"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestSurfaceOfCilium: what Cilium's requirements name is needed where Cilium is.
func TestSurfaceOfCilium(t *testing.T) {
	r := surface{programs: []string{"cil_from_container"}, types: []string{"SchedCLS"}}
	got := map[string]string{}
	for _, s := range r.options(map[string]string{"VXLAN": "m"}, nil) {
		got[s.ID] = s.Text("need") + " " + s.Text("value")
	}
	for id, want := range map[string]string{"VXLAN": "cilium m", "GENEVE": "cilium no", "NET_CLS_BPF": "programs no", "CGROUP_BPF": "cilium no", "LWTUNNEL_BPF": ""} {
		if got[id] != want {
			t.Errorf("%s: %q, want %q", id, got[id], want)
		}
	}
}

// TestSurfaceLive: two readings of this kernel are equal and small, and every type that
// our own programs relocate is found.
func TestSurfaceLive(t *testing.T) {
	if _, err := os.Stat(defaultBTF); err != nil {
		if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	objects := []Object{surfaceObject(t)}
	for _, name := range []string{"path_walker_large", "unwinder_large", "l7_parser_large", "datapath_large"} {
		b, err := os.ReadFile("../bpf/" + name + "_bpfel.o")
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, Object{name, bytes.NewReader(b)})
	}
	one, two := readSurface(t, sysfs.Live(), objects...), readSurface(t, sysfs.Live(), objects...)
	if d := cmp.Diff(one, two, cmp.Comparer(snapshot.Value.Equal)); d != "" {
		t.Errorf("two readings differ (-one +two):\n%s", d)
	}
	b, err := json.Marshal(one)
	if err != nil || len(b) > 48<<10 {
		t.Errorf("%d bytes of snapshot, %v", len(b), err)
	}
	for _, s := range one {
		if s.Kind == kindType && s.ID != "field/task_struct.state" && s.Text("available") != hasIt {
			t.Errorf("%s: %v", s.ID, s.Attrs)
		}
	}
}

func BenchmarkSurface(b *testing.B) {
	object := surfaceObject(b)
	for name, objects := range map[string][]Object{"nobody": nil, "tracing": {object}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(ReadSurface(context.Background(), sysfs.Live(), objects)) == 0 {
					b.Fatal("nothing was read")
				}
			}
		})
	}
}
