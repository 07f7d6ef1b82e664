package preflight

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/kmod"
	"lastgood/internal/snapshot"
	"lastgood/internal/vm"
	"lastgood/loader"
)

// labFile writes a file into a folder of its own.
func labFile(t *testing.T, name, text string) string {
	return writeAged(t, t.TempDir(), name, text, 0)
}

// keyInput is everything that a measurement depends on.
type keyInput struct {
	image, self string
	module      string            // text of the one module that is loaded, "" for none
	objects     map[string]string // text by name
	job         Job
	machine     vm.Machine
}

// keyOf is the key that a new Lab gives, with all files in folders of their own.
func keyOf(t *testing.T, in keyInput) string {
	t.Helper()
	l := &Lab{Self: labFile(t, "lastgood", in.self)}
	var objects []loader.ObjectFile
	for name, text := range in.objects {
		objects = append(objects, loader.ObjectFile{Name: name, Path: labFile(t, name, text)})
	}
	slices.SortFunc(objects, func(a, b loader.ObjectFile) int { return strings.Compare(a.Name, b.Name) })
	payload, err := l.payload(&in.job, objects)
	if err != nil {
		t.Fatal(err)
	}
	var modules []kmod.Module
	if in.module != "" {
		modules = []kmod.Module{{Name: "nf_conntrack", File: labFile(t, "nf_conntrack.ko", in.module)}}
	}
	key, err := l.key(Candidate{Image: labFile(t, "vmlinuz", in.image)}, payload, modules, in.machine)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestLabKey(t *testing.T) {
	base := func() keyInput {
		return keyInput{image: "kernel", self: "lastgood", module: "module", objects: map[string]string{"a.o": "a", "b.o": "b"},
			job:     Job{Families: []string{"tc"}, Budget: time.Second, Jobs: 1, NeedMiB: 64, MachineID: "m"},
			machine: vm.Machine{Accel: vm.TCG, MemoryMiB: 768, CPUs: 2, Timeout: time.Minute}}
	}
	plain := base()
	plain.machine.Timeout *= 2 // patience does not matter, nor where things lie
	keys := map[string]string{keyOf(t, base()): "the same"}
	if _, ok := keys[keyOf(t, plain)]; !ok {
		t.Error("the same has another key")
	}
	for what, change := range map[string]func(*keyInput){
		"image":                func(in *keyInput) { in.image = "kernel2" },
		"lastgood":             func(in *keyInput) { in.self = "lastgood2" },
		"no modules":           func(in *keyInput) { in.module = "" },
		"another module":       func(in *keyInput) { in.module = "module2" },
		"an object's text":     func(in *keyInput) { in.objects["a.o"] = "c" },
		"an object's name":     func(in *keyInput) { delete(in.objects, "b.o"); in.objects["c.o"] = "b" },
		"exchanged objects":    func(in *keyInput) { in.objects = map[string]string{"a.o": "b", "b.o": "a"} },
		"one object":           func(in *keyInput) { delete(in.objects, "b.o") },
		"families":             func(in *keyInput) { in.job.Families = nil },
		"objects only":         func(in *keyInput) { in.job.ObjectsOnly = true },
		"budget":               func(in *keyInput) { in.job.Budget++ },
		"jobs":                 func(in *keyInput) { in.job.Jobs = 2 },
		"memory that it needs": func(in *keyInput) { in.job.NeedMiB = 65 },
		"machine's name":       func(in *keyInput) { in.job.MachineID = "n" },
		"accelerator":          func(in *keyInput) { in.machine.Accel = vm.KVM },
		"memory":               func(in *keyInput) { in.machine.MemoryMiB = 512 },
		"CPUs":                 func(in *keyInput) { in.machine.CPUs = 1 },
	} {
		in := base()
		change(&in)
		key := keyOf(t, in)
		if other, ok := keys[key]; ok {
			t.Errorf("%s: the key is that of %s", what, other)
		}
		keys[key] = what
	}
}

func TestLabKeyWantsItsFiles(t *testing.T) {
	here, gone := labFile(t, "here", "x"), filepath.Join(t.TempDir(), "gone")
	for _, c := range []struct{ self, image string }{{here, gone}, {gone, here}} {
		l := &Lab{Self: c.self}
		if key, err := l.key(Candidate{Image: c.image}, nil, nil, vm.Machine{}); !errors.Is(err, os.ErrNotExist) || key != "" {
			t.Errorf("%+v: %q, %v", c, key, err)
		}
	}
}

func TestLabPayload(t *testing.T) {
	l := &Lab{}
	job := Job{Jobs: 2}
	files, err := l.payload(&job, []loader.ObjectFile{{Name: "b.o", Path: labFile(t, "b.o", "b")}, {Name: "a.o", Path: labFile(t, "a.o", "a"), Values: json.RawMessage(`{"x":1}`)}})
	if err != nil || len(files) != 3 || files[0].Path != "object-0.o" || string(files[1].Data) != "a" || files[2].Path != JobFile {
		t.Fatalf("%+v, %v", files, err)
	}
	var told Job
	if err := json.Unmarshal(files[2].Data, &told); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Job{Jobs: 2, Objects: []loader.ObjectFile{{Name: "b.o", Path: "object-0.o"}, {Name: "a.o", Path: "object-1.o", Values: json.RawMessage(`{"x":1}`)}}}, told); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	for name, objects := range map[string][]loader.ObjectFile{
		"two of the name a.o": {{Name: "a.o", Path: labFile(t, "a.o", "1")}, {Name: "a.o", Path: labFile(t, "a.o", "2")}},
		"no such file":        {{Name: "gone.o", Path: filepath.Join(t.TempDir(), "gone.o")}},
	} {
		if files, err := l.payload(&Job{}, objects); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %d files, %v", name, len(files), err)
		}
	}
}

func labSnapshot(release, arch string) *snapshot.Snapshot {
	return &snapshot.Snapshot{Schema: snapshot.Schema, Tool: "lastgood test", Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Identity: snapshot.Identity{Kernel: snapshot.KernelIdentity{Release: release, Arch: arch}}, Subjects: []snapshot.Subject{}}
}

func labMeasured() *Measured {
	return &Measured{Snapshot: labSnapshot("6.1.1", "x86_64"), Outcome: vm.Done, Facts: &vm.Facts{Release: "6.1.1", Arch: "x86_64", MemoryBytes: 1 << 29},
		Machine: "tcg, max", Notes: []string{"a note"}}
}

func TestLabRecallsWhatItRemembers(t *testing.T) {
	l := &Lab{Dir: filepath.Join(t.TempDir(), "lab")}
	if l.recall("k", Candidate{}) != nil {
		t.Error("something is recalled before anything was remembered")
	}
	l.remember("k", labMeasured())
	aged(t, filepath.Join(l.Dir, "k.json"), time.Hour)
	got := l.recall("k", Candidate{Release: "6.1.1", Arch: "x86_64"})
	want := labMeasured()
	want.Cached = true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("recalled (-want +got):\n%s", diff)
	}
	st, err := os.Stat(filepath.Join(l.Dir, "k.json"))
	if err != nil || time.Since(st.ModTime()) > 30*time.Minute {
		t.Errorf("what is used does not count as used: %v, %v", st.ModTime(), err)
	}
	if l.recall("k", Candidate{}) == nil {
		t.Error("a candidate of any release: nothing is recalled")
	}
	if l.recall("k", Candidate{Release: "6.1.2"}) != nil || l.recall("other", Candidate{}) != nil {
		t.Error("another kernel's measurement is recalled")
	}
}

func TestLabWithoutFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	l := &Lab{BootID: "boot"}
	l.remember("k", labMeasured())
	l.giveUpKVM("it hangs")
	if l.recall("k", Candidate{}) != nil || l.noKVM() != "it hangs" {
		t.Error("want no measurement and the reason")
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("written: %v, %v", left, err)
	}
}

func TestLabMeasuresAgainWhatIsDamaged(t *testing.T) {
	l := &Lab{Dir: t.TempDir()}
	l.remember("k", labMeasured())
	whole, err := os.ReadFile(filepath.Join(l.Dir, "k.json"))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"empty": "", "cut": string(whole[:len(whole)/2]), "not JSON": "\x00\x00", "null": "null", "nothing in it": "{}",
		"no snapshot":    `{"facts":{"release":"6.1.1"}}`,
		"no facts":       strings.Replace(string(whole), `"facts"`, `"fact"`, 1),
		"another schema": strings.Replace(string(whole), snapshot.Schema, "lastgood.snapshot/v999", 1),
	} {
		if text == string(whole) {
			t.Fatalf("%s: nothing is damaged", what)
		}
		writeAged(t, l.Dir, "k.json", text, 0)
		if m := l.recall("k", Candidate{}); m != nil {
			t.Errorf("%s: recalled %+v", what, m)
		}
		if l.remember("k", labMeasured()); l.recall("k", Candidate{}) == nil {
			t.Errorf("%s: it is not written over", what)
		}
	}
	l.remember("none", &Measured{Outcome: vm.Garbled})
	if _, err := os.Lstat(filepath.Join(l.Dir, "none.json")); !os.IsNotExist(err) {
		t.Errorf("a measurement without a snapshot is kept: %v", err)
	}
}

func TestLabPrune(t *testing.T) {
	l := &Lab{Dir: t.TempDir(), BootID: "boot"}
	l.giveUpKVM("it hangs")
	aged(t, filepath.Join(l.Dir, kvmFile), 1000*time.Hour)
	for i := range maxKept + 2 {
		writeAged(t, l.Dir, fmt.Sprintf("%03d.json", i), "{}", time.Duration(i+1)*time.Minute)
	}
	writeAged(t, l.Dir, ".new-old", "", 2*time.Hour)
	writeAged(t, l.Dir, ".new-fresh", "", time.Minute)
	l.remember("new", labMeasured())
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		t.Fatal(err)
	}
	got, want := "", ".new-fresh "
	for _, e := range entries {
		got += e.Name() + " "
	}
	for i := range maxKept - 1 {
		want += fmt.Sprintf("%03d.json ", i)
	}
	if diff := cmp.Diff(want+kvmFile+" new.json ", got); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil || z.Close() != nil {
		t.Fatal("cannot pack")
	}
	return out.Bytes()
}

func packedSnapshot(t testing.TB, release, arch string) []byte {
	b, err := labSnapshot(release, arch).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, b)
}

func TestUnpackSnapshot(t *testing.T) {
	sound := packedSnapshot(t, "6.1.1", "x86_64")
	if got, err := unpackSnapshot(sound); err != nil || !cmp.Equal(got, labSnapshot("6.1.1", "x86_64")) {
		t.Errorf("%+v, %v", got, err)
	}
	for what, c := range map[string]struct {
		data []byte
		says string
	}{
		"bomb":       {append(bytes.Repeat(packed(t, make([]byte, 1<<20)), maxSnapshot>>20), packed(t, []byte("x"))...), "more than 64 MiB"},
		"cut":        {sound[:len(sound)-9], "unpack snapshot"},
		"not packed": {[]byte("{}"), "unpack snapshot"},
		"nothing":    {nil, "unpack snapshot"},
		"other JSON": {packed(t, []byte("{}")), "decode snapshot"},
	} {
		if got, err := unpackSnapshot(c.data); got != nil || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

func FuzzUnpackSnapshot(f *testing.F) {
	sound := packedSnapshot(f, "6.1.1", "x86_64")
	f.Add(sound)
	f.Add(sound[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := unpackSnapshot(b); (s == nil) == (err == nil) {
			t.Errorf("%v, %v", s, err)
		}
	})
}

func TestOpenProvesWhatRan(t *testing.T) {
	for _, c := range []struct {
		name                   string
		asked                  Candidate
		said, release, machine string // the guest's hello, and its snapshot
		want                   bool
	}{
		{"as asked", Candidate{Release: "6.1.1", Arch: "x86_64"}, "6.1.1", "6.1.1", "x86_64", true},
		{"any", Candidate{}, "6.1.1", "6.1.1", "x86_64", true},
		{"other release", Candidate{Release: "6.1.2", Arch: "x86_64"}, "6.1.1", "6.1.1", "x86_64", false},
		{"other architecture", Candidate{Release: "6.1.1", Arch: "aarch64"}, "6.1.1", "6.1.1", "x86_64", false},
		{"its snapshot is another's", Candidate{}, "6.1.1", "6.1.2", "x86_64", false},
	} {
		m := &Measured{Outcome: vm.Done}
		err := m.open(&vm.Result{Facts: &vm.Facts{Release: c.said}, Results: [][]byte{packedSnapshot(t, c.release, c.machine)}}, c.asked)
		var other *NotAskedError
		if errors.As(err, &other) == c.want || (err == nil) != c.want {
			t.Errorf("%s: error is %v", c.name, err)
		}
		if other != nil && other.Ran != c.release+" "+c.machine {
			t.Errorf("%s: %v", c.name, other)
		}
	}
	for what, results := range map[string][][]byte{
		"none": nil, "two": {packedSnapshot(t, "6.1.1", ""), packedSnapshot(t, "6.1.1", "")}, "no snapshot": {[]byte("x")},
	} {
		m := &Measured{Outcome: vm.Done}
		err := m.open(&vm.Result{Facts: &vm.Facts{Release: "6.1.1"}, Results: results}, Candidate{})
		if err != nil || m.Outcome != vm.Garbled || m.Why == "" || m.Snapshot != nil {
			t.Errorf("%s: %+v, %v", what, m, err)
		}
	}
}

// TestLabKVMNote: that KVM cannot be had is known for a boot, and tried again at the next.
func TestLabKVMNote(t *testing.T) {
	dir := t.TempDir()
	l := &Lab{Dir: dir, BootID: "boot-1"}
	if why := l.noKVM(); why != "" {
		t.Errorf("nobody tried: %q", why)
	}
	l.giveUpKVM("the guest said nothing for 2s")
	for _, c := range []struct {
		lab  *Lab
		want string
	}{
		{l, "the guest said nothing for 2s"},
		{&Lab{Dir: dir, BootID: "boot-1"}, "the guest said nothing for 2s"},
		{&Lab{Dir: dir, BootID: "boot-2"}, ""},
		{&Lab{Dir: dir, BootID: "boot"}, ""},
		{&Lab{Dir: dir}, ""}, // which boot this is could not be told
		{&Lab{BootID: "boot-1"}, ""},
	} {
		if got := c.lab.noKVM(); got != c.want {
			t.Errorf("boot %q in %q: %q, want %q", c.lab.BootID, c.lab.Dir, got, c.want)
		}
	}
	if (&Lab{Dir: dir}).giveUpKVM("another reason"); (&Lab{Dir: dir, BootID: "boot-1"}).noKVM() != l.noKVM() {
		t.Error("a boot without a name wrote a note")
	}
	writeAged(t, dir, kvmFile, "boot-1", 0)
	if got := (&Lab{Dir: dir, BootID: "boot-1"}).noKVM(); got != "" {
		t.Errorf("a damaged note: %q", got)
	}
}
