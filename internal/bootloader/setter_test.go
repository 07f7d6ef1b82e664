package bootloader

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/sysfs"
)

// onDisk lays a host's files into a folder and gives a setter over it.
func onDisk(t *testing.T, files map[string]string) (*Setter, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Setter{Root: sysfs.New(folder(dir)), Prefix: dir}, dir
}

// folder is a host's tree in a folder that changes while it is read.
type folder string

func (d folder) ReadFile(name string, max int) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(string(d), name))
	return b[:min(max, len(b))], err
}

func (d folder) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(d), name))
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, err
}

func (d folder) Readlink(name string) (string, error) {
	return os.Readlink(filepath.Join(string(d), name))
}

func (d folder) Exists(name string) (bool, error) {
	_, err := os.Lstat(filepath.Join(string(d), name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// hostNamed are the files of a case of TestRead, with what setting it needs.
func hostNamed(t *testing.T, name string) map[string]string {
	t.Helper()
	for _, c := range bootCases() {
		if c.name != name {
			continue
		}
		for _, r := range []string{"6.1.0-31-amd64", "6.1.0-30-amd64", "6.9.4-200.fc40.x86_64", "6.10.1-200.fc40.x86_64", "6.9.1", "6.10.2"} {
			c.files["/boot/vmlinuz-"+r] = "x"
		}
		if c.loader == SystemdBoot {
			c.files[efivars+"LoaderFeatures"+loaderVendor] = "\x07\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00"
		}
		return c.files
	}
	t.Fatalf("no case %q", name)
	return nil
}

func nextRelease(t *testing.T, w *Setter) string {
	t.Helper()
	st, errs := Read(t.Context(), w.Root)
	if len(errs) > 0 || st.NextEntry() == nil {
		t.Fatalf("%v, %s", errs, st.Why)
	}
	return st.NextEntry().Release
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ host, old, new string }{
		{"debian saved", "6.1.0-30-amd64", "6.1.0-31-amd64"},
		{"debian nothing saved", "6.1.0-30-amd64", "6.1.0-31-amd64"},
		{"fedora newest", "6.9.4-200.fc40.x86_64", "6.10.1-200.fc40.x86_64"},
		{"fedora saved", "6.9.4-200.fc40.x86_64", "6.10.1-200.fc40.x86_64"},
		{"systemd-boot newest", "6.9.1", "6.10.2"},
		{"systemd-boot one-shot", "6.9.1", "6.10.2"},
		{"systemd-boot counts", "6.9.1", "6.10.2"},
		{"systemd-boot counts before 258", "6.9.1", "6.10.2"},
	} {
		t.Run(c.host, func(t *testing.T) {
			w, _ := onDisk(t, hostNamed(t, c.host))
			if why, err := w.Able(t.Context()); why != "" || err != nil {
				t.Fatalf("%q, %v", why, err)
			}
			for _, release := range []string{c.old, c.new, c.old} {
				if err := w.SetDefault(t.Context(), release); err != nil {
					t.Fatal(err)
				}
				if have := nextRelease(t, w); have != release {
					t.Fatalf("the default is %s, want %s", have, release)
				}
			}
			if err := w.SetOnce(t.Context(), c.new); err != nil {
				t.Fatal(err)
			}
			if have := nextRelease(t, w); have != c.new {
				t.Fatalf("once %s, want %s", have, c.new)
			}
			if err := w.SetDefault(t.Context(), c.old); err != nil {
				t.Fatal(err)
			}
			if have := nextRelease(t, w); have != c.old {
				t.Errorf("a default does not take the one-shot choice back: %s", have)
			}
		})
	}
}

// TestSetNothing: what would not lead to the kernel that is meant is not written.
func TestSetNothing(t *testing.T) {
	grubenv := "/boot/grub/grubenv"
	for _, c := range []struct {
		name, host, release, want string
		change                    func(map[string]string, *Setter)
	}{
		{name: "grub.cfg looks at nothing saved", host: "debian", release: "6.1.0-30-amd64", want: "GRUB would not boot"},
		{name: "no such kernel", host: "debian saved", release: "5.10.0", want: "no entry boots kernel"},
		{name: "image gone", host: "debian saved", release: "6.1.0-31-amd64", want: "no entry boots", change: func(m map[string]string, _ *Setter) { delete(m, "/boot/vmlinuz-6.1.0-31-amd64") }},
		{name: "block damaged", host: "debian saved", release: "6.1.0-31-amd64", want: "1023 bytes", change: func(m map[string]string, _ *Setter) { m[grubenv] = m[grubenv][:1023] }},
		{name: "GRUB cannot write there", host: "debian saved", release: "6.1.0-31-amd64", want: "software RAID", change: func(_ map[string]string, w *Setter) {
			w.Obstacle = func(context.Context, string) (string, error) { return "software RAID (md0)", nil }
		}},
		{name: "cannot be told", host: "debian saved", release: "6.1.0-31-amd64", want: "EIO", change: func(_ map[string]string, w *Setter) {
			w.Obstacle = func(context.Context, string) (string, error) { return "", errors.New("EIO") }
		}},
		{name: "block full", host: "debian saved", release: "6.1.0-31-amd64", want: "room for 1024", change: func(m map[string]string, _ *Setter) {
			m[grubenv] = env("a=" + strings.Repeat("x", 1024-len(envHead)-10) + "\n")
		}},
		{name: "an old systemd-boot", host: "systemd-boot newest", release: "6.9.1", want: "takes no default", change: func(m map[string]string, _ *Setter) {
			m[efivars+"LoaderFeatures"+loaderVendor] = "\x07\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"
		}},
		{name: "no loader", host: "no loader", release: "6.9.1", want: "no entry boots"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"/etc/hostname": "a"}
			if c.host != "no loader" {
				files = hostNamed(t, c.host)
			}
			var over Setter
			if c.change != nil {
				c.change(files, &over)
			}
			w, dir := onDisk(t, files)
			w.Obstacle = over.Obstacle
			for _, set := range []func(context.Context, string) error{w.SetDefault, w.SetOnce} {
				if err := set(t.Context(), c.release); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			}
			for name, text := range files {
				if have, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(have) != text {
					t.Errorf("%s was changed: %v", name, err)
				}
			}
		})
	}
}

// TestPeer: grub-editenv reads what is written here, and the other way about.
func TestPeer(t *testing.T) {
	tool, err := exec.LookPath("grub-editenv")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip("grub-editenv is not installed")
	}
	w, dir := onDisk(t, hostNamed(t, "debian saved"))
	name := filepath.Join(dir, "boot/grub/grubenv")
	if err := w.SetOnce(t.Context(), "6.1.0-31-amd64"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, name, "list").CombinedOutput()
	if err != nil || string(out) != "saved_entry=advanced>adv-30\nnext_entry=advanced>adv-31\n" {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(tool, name, "set", `a=b\c`).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := w.SetDefault(t.Context(), "6.1.0-31-amd64"); err != nil {
		t.Fatal(err)
	}
	st, _ := Read(t.Context(), w.Root)
	if d := cmp.Diff(map[string]string{"saved_entry": "advanced>adv-31", "a": `b\c`}, st.Env); d != "" {
		t.Error(d)
	}
}

func FuzzChangeGrubenv(f *testing.F) {
	f.Add([]byte(env("saved_entry=a\\\\b\n# WARNING\nnext_entry=\n")), "saved_entry", "x\n\\y")
	f.Add([]byte(env("a=1\na=2\n")), "a", "3")
	f.Add([]byte(env("a=1\n")), "b", "")
	f.Fuzz(func(t *testing.T, b []byte, name, value string) {
		before, err := parseGrubenv(b)
		if err != nil {
			return
		}
		out, err := changeGrubenv(b, map[string]string{name: value})
		if err != nil {
			return
		}
		after, err := parseGrubenv(out)
		if err != nil || len(out) != envSize || !bytes.HasPrefix(out, []byte(envHead)) {
			t.Fatalf("%v: %q", err, out)
		}
		if after[name] != value {
			t.Fatalf("%q is %q, want %q", name, after[name], value)
		}
		delete(before, name)
		delete(after, name)
		if d := cmp.Diff(before, after); d != "" && endsWhole(b) {
			t.Fatalf("the others changed: %s", d)
		}
	})
}

// endsWhole reports whether no variable stands in the line that no newline ends.
func endsWhole(b []byte) bool {
	rest := string(b[len(envHead):])
	for rest != "" {
		var line string
		whole := rest
		line, rest = cutLine(rest)
		if len(line) == len(whole) {
			return strings.Trim(line, "#") == ""
		}
	}
	return true
}
