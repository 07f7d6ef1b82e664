package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// needWalk skips where this process may not list what is loaded.
func needWalk(tb testing.TB) {
	tb.Helper()
	needBPF(tb)
	if _, err := ReadLoaded(tb.Context()); errors.Is(err, unix.EPERM) {
		tb.Skip(err)
	}
}

// named loads a program of that name with a map; both end with the test.
func named(tb testing.TB, name string, insns int) *ebpf.Program {
	tb.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "t_loaded_map", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 100})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	code := append(asm.Instructions{asm.LoadMapPtr(asm.R1, m.FD())}, straight(insns)...)
	code[0] = btf.WithFuncMetadata(code[0].WithSymbol(name), &btf.Func{Name: name, Linkage: btf.GlobalFunc,
		Type: &btf.FuncProto{Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}})
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SocketFilter, License: "GPL", Instructions: code})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.Close() })
	return p
}

func idOf(tb testing.TB, p *ebpf.Program) uint32 {
	tb.Helper()
	info, _, errno := progInfo(bpf, p.FD())
	if errno != 0 {
		tb.Fatal(errno)
	}
	return info.id
}

// told is what two tools say of a program.
type told struct {
	Name, Type             string
	Xlated, Jited, Memlock uint64
	UID                    uint32
	Maps                   []uint32
}

func bpftoolSays(t *testing.T) map[uint32]told {
	t.Helper()
	tool, err := exec.LookPath("bpftool")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("bpftool is not there to compare with")
		}
		t.Skip("bpftool is not there to compare with")
	}
	out, err := exec.Command(tool, "-j", "prog", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		ID      uint32   `json:"id"`
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		Xlated  uint64   `json:"bytes_xlated"`
		Jited   uint64   `json:"bytes_jited"`
		Memlock uint64   `json:"bytes_memlock"`
		UID     uint32   `json:"uid"`
		Maps    []uint32 `json:"map_ids"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	said := map[uint32]told{}
	for _, p := range all {
		slices.Sort(p.Maps)
		said[p.ID] = told{p.Name, p.Type, p.Xlated, p.Jited, p.Memlock, p.UID, p.Maps}
	}
	return said
}

// TestLoadedAgreesWithBpftool: every figure of every program that was loaded here is
// the one that the kernel's own tool shows.
func TestLoadedAgreesWithBpftool(t *testing.T) {
	needWalk(t)
	want := map[uint32]string{}
	insns := map[uint32]uint64{}
	for i, name := range []string{"t_loaded_short", "t_loaded_fiftn", "t_loaded_from_container", "t_loaded_from_containment"} {
		n := 10 * (i + 1)
		id := idOf(t, named(t, name, n))
		want[id], insns[id] = name, uint64(n+1) // and the load of the map's address
	}
	have, err := ReadLoaded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := bpftoolSays(t)
	seen := 0
	for i := range have.Programs {
		p := &have.Programs[i]
		name, ours := want[p.ID]
		if !ours {
			continue
		}
		seen++
		slices.Sort(p.MapIDs)
		got := told{p.Name, strings.ToLower(p.Type.String()), p.XlatedBytes.V, p.JitedBytes.V, p.MemlockBytes.V, p.UID, p.MapIDs}
		peer := said[p.ID]
		peer.Type = strings.ReplaceAll(peer.Type, "_", "")
		if d := cmp.Diff(peer, got); d != "" {
			t.Errorf("%s (-bpftool +lastgood):\n%s", name, d)
		}
		if p.Name != name || p.VerifiedInsns != Some(insns[p.ID]) || p.LoadTime <= 0 || len(p.Errs) > 0 {
			t.Errorf("program %+v, want %s with %d insns verified", p, name, insns[p.ID])
		}
		maps := have.MapsOf(p)
		if len(maps) != 1 || maps[0].Name != "t_loaded_map" || maps[0].Type != ebpf.Hash || maps[0].MaxEntries != 100 || maps[0].MemlockBytes.V == 0 {
			t.Errorf("%s has maps %+v", name, maps)
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d programs were found", seen, len(want))
	}
}

// fake is a kernel with programs 1 to n, where some calls fail.
type fake struct {
	n    uint32
	fail func(cmd uintptr, id uint32) unix.Errno
	// told is how many bytes of the info this kernel knows; 0 for all.
	told uint32
	last uint32
}

func (f *fake) call(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
	ids := (*struct{ id, next, flags uint32 })(attr)
	switch cmd {
	case unix.BPF_PROG_GET_NEXT_ID:
		if errno := f.fail(cmd, ids.id); errno != 0 {
			return -1, errno
		}
		if ids.id >= f.n {
			return -1, unix.ENOENT
		}
		ids.next = ids.id + 1
		return 0, 0
	case unix.BPF_LINK_GET_NEXT_ID:
		if errno := f.fail(cmd, ids.id); errno != 0 {
			return -1, errno
		}
		return -1, unix.ENOENT
	case unix.BPF_PROG_GET_FD_BY_ID:
		if errno := f.fail(cmd, ids.id); errno != 0 {
			return -1, errno
		}
		f.last = ids.id
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, unix.EMFILE
		}
		return fd, 0
	case unix.BPF_OBJ_GET_INFO_BY_FD:
		a := (*objInfoAttr)(attr)
		if errno := f.fail(cmd, f.last); errno != 0 {
			return -1, errno
		}
		info := *(**bpfProgInfo)(unsafe.Pointer(&a.info))
		info.xlatedProgLen, info.verifiedInsns, info.id = 16, 2*f.last, f.last
		if f.told != 0 {
			info.verifiedInsns, a.infoLen = 0, f.told
		}
		return 0, 0
	}
	return -1, unix.EINVAL
}

func TestLoadedFaults(t *testing.T) {
	never := func(uintptr, uint32) unix.Errno { return 0 }
	at := func(cmd uintptr, id uint32, errno unix.Errno) func(uintptr, uint32) unix.Errno {
		return func(c uintptr, i uint32) unix.Errno {
			if c == cmd && i == id {
				return errno
			}
			return 0
		}
	}
	for _, test := range []struct {
		name     string
		fail     func(uintptr, uint32) unix.Errno
		programs int // -1: no answer at all
		vanished int
		is       error
	}{
		{"all well", never, 3, 0, nil},
		{"not allowed", at(unix.BPF_PROG_GET_NEXT_ID, 0, unix.EPERM), -1, 0, unix.EPERM},
		{"a kernel without the walk", at(unix.BPF_PROG_GET_NEXT_ID, 0, unix.EINVAL), -1, 0, ErrNoWalk},
		{"the walk breaks off", at(unix.BPF_PROG_GET_NEXT_ID, 2, unix.EINVAL), -1, 0, unix.EINVAL},
		{"one is gone", at(unix.BPF_PROG_GET_FD_BY_ID, 2, unix.ENOENT), 2, 1, nil},
		{"one may not be opened", at(unix.BPF_PROG_GET_FD_BY_ID, 2, unix.EACCES), 1, 0, unix.EACCES},
		{"out of descriptors", at(unix.BPF_PROG_GET_FD_BY_ID, 3, unix.EMFILE), 2, 0, unix.EMFILE},
		{"one says nothing", at(unix.BPF_OBJ_GET_INFO_BY_FD, 1, unix.EFAULT), 0, 0, unix.EFAULT},
		{"a kernel without links", at(unix.BPF_LINK_GET_NEXT_ID, 0, unix.EINVAL), 3, 0, nil},
		{"links are not allowed", at(unix.BPF_LINK_GET_NEXT_ID, 0, unix.EPERM), 3, 0, unix.EPERM},
	} {
		f := fake{n: 3, fail: test.fail}
		w := walker{call: f.call, fdinfo: func(int) ([]byte, error) { return []byte("memlock:\t4096\n"), nil }}
		have, err := w.read(t.Context())
		if !errors.Is(err, test.is) || (err == nil) != (test.is == nil) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.is)
		}
		switch {
		case test.programs < 0:
			if have != nil {
				t.Errorf("%s: %+v, want no answer", test.name, have)
			}
		case have == nil || len(have.Programs) != test.programs || have.Vanished != test.vanished:
			t.Errorf("%s: %+v, want %d programs and %d gone", test.name, have, test.programs, test.vanished)
		}
	}
}

// TestLoadedOldKernel: a counter that the kernel does not have is not there, and not 0.
func TestLoadedOldKernel(t *testing.T) {
	f := fake{n: 1, fail: func(uintptr, uint32) unix.Errno { return 0 }, told: uint32(unsafe.Offsetof(bpfProgInfo{}.verifiedInsns))}
	w := walker{call: f.call, fdinfo: func(int) ([]byte, error) { return nil, errors.New("no fdinfo") }}
	have, err := w.read(t.Context())
	if err != nil || len(have.Programs) != 1 {
		t.Fatal(have, err)
	}
	p := have.Programs[0]
	if p.VerifiedInsns.Set || p.MemlockBytes.Set || !p.XlatedBytes.Set || !slices.Contains(p.Errs, "no fdinfo") {
		t.Errorf("program %+v", p)
	}
}

// TestLoadedVanish: programs that come and go while the list is read are no fault.
func TestLoadedVanish(t *testing.T) {
	needWalk(t)
	insns := encode(t, returnZero())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for try := NewTrier(); ; {
			select {
			case <-stop:
				return
			default:
				try.Prog(TryProg{Type: ebpf.SocketFilter, Insns: insns, Name: "t_fleeting", Quiet: true})
			}
		}
	}()
	keep := idOf(t, named(t, "t_loaded_keep", 5))
	for range 200 {
		have, err := ReadLoaded(t.Context())
		if err != nil {
			t.Error(err)
			break
		}
		if !slices.ContainsFunc(have.Programs, func(p LoadedProgram) bool { return p.ID == keep }) {
			t.Error("a program that stayed was not found")
			break
		}
	}
	close(stop)
	<-stopped
}

func TestFuncName(t *testing.T) {
	spec := &btf.Func{Name: "a_name_of_more_than_fifteen", Linkage: btf.StaticFunc, Type: &btf.FuncProto{Return: &btf.Void{}}}
	b, err := btf.NewBuilder([]btf.Type{&btf.Int{Name: "int", Size: 4}, &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "m", Type: &btf.Int{Name: "int", Size: 4}}}}, spec}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for id := range uint32(20) {
		if name, err := funcName(raw, id); err == nil {
			found++
			if name != spec.Name {
				t.Errorf("type %d is function %q", id, name)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d functions, want 1", found)
	}
}

func FuzzFuncName(f *testing.F) {
	b, err := btf.NewBuilder([]btf.Type{&btf.Func{Name: "f", Type: &btf.FuncProto{Return: &btf.Void{}}}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, uint32(2))
	f.Fuzz(func(t *testing.T, data []byte, id uint32) {
		if name, err := funcName(data, id); err == nil && strings.Contains(name, "\x00") {
			t.Errorf("name %q", name)
		}
	})
}

// FuzzLinkInfo: whatever a kernel says of a link is taken without a fault.
func FuzzLinkInfo(f *testing.F) {
	f.Add(uint32(LinkPerfEvent), []byte{3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, kind uint32, rest []byte) {
		info := &bpfLinkInfo{linkType: kind}
		copy(info.rest[:], rest)
		l := linkOf(info)
		if at, length := nameField(&l, info); at >= 0 && (at+8 > len(info.rest) || length+4 > len(info.rest)) {
			t.Errorf("name at %d and %d", at, length)
		}
	})
}

// BenchmarkLoaded500 is the census of 500 loaded programs, of which each has a name that
// was cut: at most 100 ms.
func BenchmarkLoaded500(b *testing.B) {
	needWalk(b)
	for i := range 500 {
		named(b, fmt.Sprintf("t_loaded_from_container_%d", i), 10)
	}
	for b.Loop() {
		have, err := ReadLoaded(b.Context())
		if err != nil || len(have.Programs) < 500 {
			b.Fatal(len(have.Programs), err)
		}
	}
}
