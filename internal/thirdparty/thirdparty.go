// Package thirdparty gets real programs of other projects for tests and benchmarks:
// objects that Go modules embed and that tools of Debian carry inside. None of them is
// part of this project, and nothing but tests imports this package.
package thirdparty

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// Packages are Debian's that carry objects: files of their own, or inside their tools
// as libbpf's skeletons put them there.
var Packages = []string{"libbpf-tools", "libxdp1", "xdp-tools"}

// Module is a Go module with objects in it. Sum is that of go.sum.
type Module struct{ Path, Version, Sum string }

// Modules are those that are looked through.
var Modules = []Module{
	{"tailscale.com", "v1.104.5", "h1:TLemRww20+bcQ0FEVTTZ7yMtVDZ4pOpSCL86Oo9g3mA="},
	{"github.com/cilium/ebpf", "v0.22.0", ""}, // this module's own go.sum has it
}

// Fetch puts all objects into dir, each under a name of its own, and lists their paths.
// What is there already is not fetched again.
func Fetch(ctx context.Context, dir string) ([]string, error) {
	done := filepath.Join(dir, ".complete")
	if _, err := os.Stat(done); err == nil {
		return filepath.Glob(filepath.Join(dir, "*.o"))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, p := range Packages {
		if err := fromPackage(ctx, dir, p); err != nil {
			return nil, fmt.Errorf("package %s: %w", p, err)
		}
	}
	for _, m := range Modules {
		if err := fromModule(ctx, dir, m); err != nil {
			return nil, fmt.Errorf("module %s: %w", m.Path, err)
		}
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, "*.o"))
}

func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out, nil
}

func fromPackage(ctx context.Context, dir, name string) error {
	tmp, err := os.MkdirTemp("", "lastgood-objects-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o777); err != nil { // apt downloads as a user of its own
		return err
	}
	if _, err := run(ctx, tmp, "apt-get", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("%d packages came for one: %w", len(debs), errors.Join(err))
	}
	tree := filepath.Join(tmp, "tree")
	if _, err := run(ctx, tmp, "dpkg-deb", "-x", debs[0], tree); err != nil {
		return err
	}
	return gather(dir, tree, name)
}

func fromModule(ctx context.Context, dir string, m Module) error {
	// Outside a module nothing but this one is fetched; GOTOOLCHAIN is that of the module.
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", m.Path+"@"+m.Version)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	cmd.Dir = os.TempDir()
	out, _ := cmd.Output() // the answer says what failed, and not all of it matters
	var got struct{ Dir, Zip, Sum, Error string }
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("go mod download: %w", err)
	}
	if m.Sum != "" && got.Sum != m.Sum {
		return fmt.Errorf("its sum is %q, want %s (%s)", got.Sum, m.Sum, got.Error)
	}
	name := filepath.Base(m.Path)
	if got.Dir != "" {
		return gather(dir, got.Dir, name)
	}
	// A module for a newer Go is downloaded and not unpacked.
	tmp, err := os.MkdirTemp("", "lastgood-objects-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := unzipObjects(got.Zip, tmp); err != nil {
		return err
	}
	return gather(dir, tmp, name)
}

// gather writes every object found in the files below tree: PREFIX-FILE[-N]-DIGEST.o.
func gather(dir, tree, prefix string) error {
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, object := range Carve(b) {
			sum := sha256.Sum256(object)
			base := strings.TrimSuffix(filepath.Base(path), ".o")
			name := fmt.Sprintf("%s-%s-%s.o", prefix, base, hex.EncodeToString(sum[:4]))
			if err := os.WriteFile(filepath.Join(dir, name), object, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// Carve finds the BPF objects for this machine's byte order inside of b.
func Carve(b []byte) [][]byte {
	magic := []byte(elf.ELFMAG + "\x02\x01\x01") // 64 bits, little endian
	var out [][]byte
	for at := 0; ; {
		i := bytes.Index(b[at:], magic)
		if i < 0 {
			break
		}
		at += i
		if n := objectSize(b[at:]); n > 0 {
			out = append(out, b[at:at+n])
			at += n
			continue
		}
		at++
	}
	sort.Slice(out, func(i, j int) bool { return len(out[i]) < len(out[j]) })
	return out
}

// objectSize is the size of the BPF object that b begins with, 0 where it is none: it
// ends with the last of its sections or the table of them.
func objectSize(b []byte) (size int) {
	defer func() {
		if recover() != nil {
			size = 0
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || f.Machine != elf.EM_BPF || f.Type != elf.ET_REL {
		return 0
	}
	programs := false
	var end uint64
	for _, s := range f.Sections {
		programs = programs || s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0
		if s.Type != elf.SHT_NOBITS {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	const tableOffset, entrySize = 0x28, 64
	table := f.ByteOrder.Uint64(b[tableOffset:])
	end = max(end, table+uint64(len(f.Sections))*entrySize)
	if !programs || end > uint64(len(b)) {
		return 0
	}
	return int(end)
}
