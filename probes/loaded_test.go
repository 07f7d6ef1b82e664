package probes

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/loader"
)

func TestLoadedRecordedHost(t *testing.T) {
	h := liveHost()
	h.Root = sysfs.New(nil)
	got, err := readLoaded(context.Background(), h)
	if err != nil || len(got) != 1 || got[0].Outcome != snapshot.Skipped || got[0].Reason == "" {
		t.Errorf("%+v, %v: want one subject that is skipped", got, err)
	}
}

func loadedOf(id uint32, name string, typ ebpf.ProgramType, insns uint64, maps ...uint32) loader.LoadedProgram {
	p := loader.LoadedProgram{ID: id, Name: name, Type: typ, MapIDs: maps, XlatedBytes: loader.Some(insns * 8), MemlockBytes: loader.Some[uint64](4096)}
	if insns > 0 {
		p.VerifiedInsns = loader.Some(insns)
	}
	return p
}

// TestLoadedGroups: what is one subject and what is several.
func TestLoadedGroups(t *testing.T) {
	have := &loader.Loaded{
		Maps: map[uint32]loader.LoadedMap{
			1: {ID: 1, Name: "cilium_calls_12"}, 2: {ID: 2, Name: "cilium_calls_34"}, 3: {ID: 3, Name: "events"}, 4: {ID: 4, Name: "stacks"},
		},
		Programs: []loader.LoadedProgram{
			loadedOf(10, "cil_from_container", ebpf.SchedCLS, 300, 1), loadedOf(11, "cil_from_container", ebpf.SchedCLS, 400, 2),
			loadedOf(12, "cil_from_netdev", ebpf.SchedCLS, 500), loadedOf(13, "cil_from_netdev", ebpf.SchedCLS, 600),
			loadedOf(20, "handler", ebpf.Kprobe, 70, 3), loadedOf(21, "handler", ebpf.Kprobe, 80, 4),
			loadedOf(30, "sd_fw_egress", ebpf.CGroupSKB, 7, 3), loadedOf(31, "sd_fw_egress", ebpf.CGroupSKB, 9, 4), loadedOf(32, "", ebpf.CGroupDevice, 30),
			loadedOf(40, objectName, ebpf.SocketFilter, 2), loadedOf(41, "somebody", ebpf.SocketFilter, 2), loadedOf(42, "old", ebpf.XDP, 0),
		},
	}
	points := map[uint32][]point{
		10: {{"lxc*", "tcx_ingress"}}, 11: {{"lxc*", "tcx_ingress"}}, 12: {{"eth0", "tc_ingress"}}, 13: {{"eth1", "tc_ingress"}},
		30: {{"/system.slice/a.service", "cgroup_inet_egress"}},
	}
	type row struct{ Label, Insns, Programs, Targets string }
	got := map[string]row{}
	for _, g := range groupLoaded(have, points, owners{of: map[uint32][]string{41: {"lastgood"}}}) {
		s := g.subject(have, 1_000_000, nil)
		got[s.ID] = row{s.Label, s.Attrs["insns_processed"].String(), s.Attrs["programs"].String(), s.Attrs["targets"].String()}
	}
	want := map[string]row{
		"sched_cls/cil_from_container@lxc*":                          {"cil_from_container on lxc*", "400", "2", "lxc* tcx_ingress"},
		"sched_cls/cil_from_netdev@eth0":                             {"cil_from_netdev on eth0", "500", "1", "eth0 tc_ingress"},
		"sched_cls/cil_from_netdev@eth1":                             {"cil_from_netdev on eth1", "600", "1", "eth1 tc_ingress"},
		"kprobe/handler#" + mapsMark(have.MapsOf(&have.Programs[4])): {"handler", "70", "1", "-"},
		"kprobe/handler#" + mapsMark(have.MapsOf(&have.Programs[5])): {"handler", "80", "1", "-"},
		"cgroup_skb/sd_fw_egress":                                    {"sd_fw_egress", "9", "2", "-"},
		"cgroup_device/unnamed":                                      {"unnamed cgroup_device", "30", "1", "-"},
		"xdp/old":                                                    {"old", "-", "1", "-"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestStableNames(t *testing.T) {
	for name, want := range map[string]string{
		"eth0": "eth0", "enp3s0f1": "enp3s0f1", "bond0.100": "bond0.100", "cilium_host": "cilium_host", "lxc_health": "lxc_health", "docker0": "docker0",
		"lxc0a1b2c3d4e5f": "lxc*", "veth1234abc": "veth*", "cali0123456789a": "cali*", "vethdeadbee": "veth*", "br-1a2b3c4d5e6f": "br-*", "br-lan": "br-lan", "eni": "eni",
	} {
		if got := stableInterface(name); got != want {
			t.Errorf("interface %s: %s, want %s", name, got, want)
		}
	}
	for path, want := range map[string]string{
		"/": "/", "/system.slice/cron.service": "/system.slice/cron.service", "/user.slice/user-1000.slice/session-7.scope": "/user.slice/user-*.slice/session-*.scope",
		"/kubepods.slice/kubepods-pod0a1b2c3d_1111_2222_3333_0123456789ab.slice/cri-containerd-0123456789abcdef0123456789abcdef.scope": "/kubepods.slice/kubepods-pod*.slice/cri-containerd-*.scope",
	} {
		if got := stableCgroup(path); got != want {
			t.Errorf("cgroup %s: %s, want %s", path, got, want)
		}
	}
}

func loadedSubject(insns int, targets ...string) snapshot.Subject {
	s := snapshot.Subject{Kind: LoadedKind, ID: "sched_cls/cil_from_container", Label: "cil_from_container", Outcome: snapshot.Measured}
	if insns > 0 {
		s.Set("insns_processed", snapshot.Int(insns))
		s.Set("insns_limit", snapshot.Int(1_000_000))
	}
	s.Set("jited_bytes", snapshot.Int(insns*3))
	if len(targets) > 0 {
		s.Set("targets", snapshot.List(targets...))
	}
	return s
}

func loadedSet(names ...string) snapshot.Subject {
	s := snapshot.Subject{Kind: loadedSetKind, ID: "all", Label: "BPF programs", Outcome: snapshot.Measured}
	s.Set("names", snapshot.List(names...))
	s.Set("programs", snapshot.Int(len(names)))
	return s
}

// TestLoadedRules: what is said from one kernel to another, and on one kernel.
func TestLoadedRules(t *testing.T) {
	kinds, err := snapshot.NewKinds(loadedDeclaration, loadedSetDeclaration)
	if err != nil {
		t.Fatal(err)
	}
	none := snapshot.Subject{}
	for _, test := range []struct {
		name     string
		old, new snapshot.Subject
		same     bool // the kernel
		want     string
	}{
		{"nothing", loadedSubject(312_040), loadedSubject(312_040), false, ""},
		{"it grew a little", loadedSubject(312_040), loadedSubject(389_000), false, ""},
		{"a small one grew", loadedSubject(400), loadedSubject(5_300), false, ""},
		{"it grew", loadedSubject(312_040), loadedSubject(690_112), false, "warning kernel cil_from_container: 312,040 insns -> 690,112 insns (×2.21), 31 % headroom left"},
		{"it comes near", loadedSubject(312_040), loadedSubject(890_112), false, "warning kernel cil_from_container: 312,040 insns -> 890,112 insns, 11 % headroom left"},
		{"it comes very near", loadedSubject(312_040), loadedSubject(966_293), false, "critical kernel cil_from_container: 312,040 insns -> 966,293 insns, 3 % headroom left"},
		{"it was near", loadedSubject(890_000), loadedSubject(891_000), false, ""},
		{"it was very near", loadedSubject(966_293), loadedSubject(970_000), false, ""},
		{"it grew on one kernel: its own doing", loadedSubject(312_040), loadedSubject(690_112), true, "warning object cil_from_container: 312,040 insns -> 690,112 insns (×2.21), 31 % headroom left"},
		{"it shrank", loadedSubject(690_112), loadedSubject(312_040), false, ""},
		{"the kernel does not count", loadedSubject(312_040), loadedSubject(0), false, ""},
		{"detached", loadedSubject(10, "eth0 xdp", "eth1 xdp"), loadedSubject(10, "eth0 xdp"), false, "warning kernel cil_from_container is loaded and no longer attached at eth1 xdp"},
		{"attached at more", loadedSubject(10, "eth0 xdp"), loadedSubject(10, "eth0 xdp", "eth1 xdp"), false, ""},
		{"gone", loadedSubject(312_040), none, false, ""},
		{"new and near the limit", none, loadedSubject(966_293), false, ""},
		{"some are gone", loadedSet("a", "b", "c"), loadedSet("b", "d"), false, "info object not loaded, and were at the last good boot: a, c"},
		{"some are new", loadedSet("a"), loadedSet("a", "b"), false, ""},
	} {
		world := func(build string, s snapshot.Subject) *snapshot.Snapshot {
			snap := &snapshot.Snapshot{Tool: "test", Subjects: []snapshot.Subject{{Kind: snapshot.SourceKind, ID: LoadedSource, Outcome: snapshot.Measured,
				Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(LoadedKind, loadedSetKind)}}}}
			if s.ID != "" {
				snap.Subjects = append(snap.Subjects, s)
			}
			snap.Identity.Kernel = snapshot.KernelIdentity{BuildID: build, Arch: "x86_64"}
			if err := snap.Sort(); err != nil {
				t.Fatal(err)
			}
			return snap
		}
		build := "b"
		if test.same {
			build = "a"
		}
		var got []string
		for _, f := range compare.Judge(world("a", test.old), world(build, test.new), kinds, compare.Policy{}).Findings {
			got = append(got, string(f.Severity)+" "+string(f.Class)+" "+f.Message)
		}
		if d := cmp.Diff(test.want, strings.Join(got, "; ")); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

// TestNameTypes: what one scan of the kernel's types finds by name, the other names by id.
func TestNameTypes(t *testing.T) {
	file, err := os.Open(defaultBTF)
	if err != nil {
		t.Skip("the kernel shows no type information: ", err)
	}
	defer file.Close()
	found, err := scanBTF(file, allTargets())
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	wanted := map[uint32]string{}
	for _, f := range found {
		wanted[f.id] = ""
	}
	if err := nameTypes(file, wanted); err != nil {
		t.Fatal(err)
	}
	for key, f := range found {
		if name, _, _ := strings.Cut(key, "."); wanted[f.id] != name {
			t.Errorf("type %d is %q, want %q", f.id, wanted[f.id], name)
		}
	}
}

func FuzzProgramOf(f *testing.F) {
	f.Add([]byte("pos:\t0\nprog_type:\t1\nprog_id:\t42\nrun_cnt:\t0\n"))
	f.Add([]byte("prog_id:"))
	f.Fuzz(func(t *testing.T, info []byte) {
		if id, ok := programOf(info); ok && (id == 0 || !bytes.Contains(info, []byte("prog_id:"))) {
			t.Errorf("program %d of %q", id, info)
		}
	})
}

// FuzzNameTypes: damaged type information is an error and never a fault, and never
// read without end.
func FuzzNameTypes(f *testing.F) {
	f.Add([]byte{0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 'f', 0}, uint32(1))
	f.Fuzz(func(t *testing.T, data []byte, id uint32) {
		wanted := map[uint32]string{id: ""}
		if err := nameTypes(bytes.NewReader(data), wanted); err == nil && strings.Contains(wanted[id], "\x00") {
			t.Errorf("name %q", wanted[id])
		}
	})
}
