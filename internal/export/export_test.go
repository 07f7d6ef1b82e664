package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/loader"
)

// secrets are what a host's identity holds and no file may.
var secrets = []string{"3f1c0ffee0000000000000000000beef", "boot-4711", "uuid-0815", "ThinkServer", "web17.example.org", "10.9.8.7", "nvme-serial", "0xdeadbeef", "Secret CPU"}

func side(release string, insns uint64) *Side {
	s := Side{
		Identity: snapshot.Identity{
			Kernel:    snapshot.KernelIdentity{Release: release, Version: "#1 SMP", BuildID: "ab" + release, Arch: "x86_64", ConfigHash: "c", BTFHash: "b", Cmdline: "root=/dev/disk/by-id/nvme-serial ip=10.9.8.7::web17.example.org mitigations=off quiet"},
			MachineID: secrets[0], BootID: secrets[1], ProductUUID: secrets[2], Product: "ThinkServer",
			CPU:  snapshot.CPUIdentity{Model: "Secret CPU", Microcode: []string{"0xdeadbeef"}, Mitigations: map[string]string{"spectre_v1": "Mitigation"}},
			Errs: map[string]string{"lockdown": "read web17.example.org"},
		},
		Subject:     snapshot.Subject{Kind: "bpf.program", ID: "/var/lib/web17.example.org/x.o/p", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{"verdict": snapshot.Text("accepted"), "insns_processed": snapshot.Int(int64(insns))}},
		Explanation: &loader.Explanation{Program: "p", Verdict: loader.Accepted, Processed: &insns, Attributed: insns, Method: loader.MethodStream, Functions: []loader.FunctionInsns{{Name: "p", Self: insns, Total: insns}}, Lines: []loader.LineInsns{{Function: "p", File: "a.c", Line: 7, Text: "x++;", Insns: insns}}},
	}
	return &s
}

func full() Case {
	return Case{
		Object: []byte("\x7fELF"), ObjectName: "/var/lib/web17.example.org/bpf_lxc.o", Program: "cil_from_container",
		Values:   map[string]json.RawMessage{"limit": json.RawMessage("32"), "name": json.RawMessage(`"eth0"`), "list": json.RawMessage(`[1]`)},
		Commands: []string{"lastgood probe bpf_lxc.o"},
		Before:   side("6.19.3", 1000), Now: *side("6.19.4", 2000),
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "case")
	if err := Write(dir, full()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range names(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(data)
		for _, s := range secrets {
			if strings.Contains(string(data), s) {
				t.Errorf("%s holds %q of the host:\n%s", name, s, data)
			}
		}
	}
	want := []string{"README.txt", "before.csv", "before.explanation.json", "before.kernel.json", "bpf_lxc.o", "commands.sh", "explanation.txt", "now.csv", "now.explanation.json", "now.kernel.json", "values.json"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for name, part := range map[string]string{
		"README.txt":           "All of the growth is in p, a.c:7 (1,000 → 2,000 insns).",
		"now.csv":              "\nbpf_lxc.o,cil_from_container,success,0,2000,",
		"before.csv":           "\nbpf_lxc.o,cil_from_container,success,0,1000,",
		"now.kernel.json":      `"mitigations=off"`,
		"bpf_lxc.o":            "\x7fELF",
		"explanation.txt":      "a.c:7",
		"commands.sh":          "veristat -G 'limit=32' -o csv -f 'cil_from_container' 'bpf_lxc.o' > here.csv",
		"values.json":          `"name": "eth0"`,
		"now.explanation.json": `"insns_processed": 2000`,
	} {
		if !strings.Contains(got[name], part) {
			t.Errorf("%s lacks %q:\n%s", name, part, got[name])
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), ".case.lastgood")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary folder is left: %v", err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestWriteLittle: a side that is not known has no files and makes no claims.
func TestWriteLittle(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "case")
	if err := Write(dir, Case{Object: []byte("x"), Program: "p", Now: Side{}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"README.txt", "commands.sh", "now.csv", "now.kernel.json", "object.o"}, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := Write(filepath.Join(t.TempDir(), "x"), Case{Program: "p"}); err == nil {
		t.Error("written without an object")
	}
}

func TestWriteRefuses(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(at("full"), 0o700))
	must(os.WriteFile(at("full/mine"), []byte("keep"), 0o600))
	must(os.Mkdir(at("empty"), 0o700))
	must(os.WriteFile(at("file"), nil, 0o600))
	must(os.Symlink(at("empty"), at("link")))
	for _, tt := range []struct{ name, want string }{
		{"full", "not empty"}, {"file", "not a folder"}, {"link", "not a folder"}, {"none/case", "no such file"}, {"empty", ""}, {"new", ""}, {".", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := at(tt.name)
			if tt.name == "." {
				dir, tt.want = ".", "needs a name"
			}
			err := Write(dir, full())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if diff := cmp.Diff([]string{"empty", "file", "full", "link", "new"}, names(t, base)); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	if data, _ := os.ReadFile(at("full/mine")); string(data) != "keep" {
		t.Error("somebody's file is gone")
	}
}

// TestWriteAfterAKill takes over what a killed export left, but not one at work.
func TestWriteAfterAKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "case")
	left := filepath.Join(filepath.Dir(dir), ".case.lastgood")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "half"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(left)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, full()); err == nil || !strings.Contains(err.Error(), "another export") {
		t.Errorf("error %v beside another export", err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, full()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(names(t, dir), "half") {
		t.Error("what another export left is in the folder")
	}
}

// TestCommandsAreOneShellScript: names from an object cannot leave their quotes.
func TestCommandsAreOneShellScript(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatalf("no shell to check with: %v", err)
		}
		t.Skipf("no shell to check with: %v", err)
	}
	c := full()
	c.Program, c.ObjectName = "p'; touch owned; '\n touch owned2", "a b;$(touch owned3)"
	c.Values = map[string]json.RawMessage{"v'; touch owned4 #\ntouch owned5": json.RawMessage("1"), "w\ntouch owned6": json.RawMessage(`"s"`)}
	c.Commands = nil
	dir := t.TempDir()
	// veristat is a function that does nothing, so that only the quoting is at work.
	cmd := exec.Command(sh, "-c", "veristat() { :; }\n"+c.commands())
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, c.commands())
	}
	if diff := cmp.Diff([]string{"here.csv"}, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"bpf_lxc.o", "/a/b/", "", "..", "-rf", "README.txt", "now.csv", "ü.o", strings.Repeat("a", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := FileName(s)
		if n != FileName(n) || !strings.HasSuffix(n, ".o") || len(n) > 102 || n[0] == '.' || n[0] == '-' || strings.ContainsAny(n, "/ ,'\"\n") || !bytes.Equal([]byte(n), bytes.ToValidUTF8([]byte(n), nil)) {
			t.Errorf("%q became %q", s, n)
		}
	})
}
