// Package kmod reads a kernel's modules from its tree lib/modules/RELEASE: which there
// are, which devices they drive, what they need of one another and of the host.
package kmod

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Tree is what a tree lib/modules/RELEASE holds.
type Tree struct {
	dir     string
	files   map[string]string // name → path of each module file
	builtin map[string]bool
	aliases aliasIndex
}

// Module is one loadable module.
type Module struct {
	Name string // the kernel's: dashes are underscores
	File string // its path, packed or not
}

// Open reads a module tree and what its modules drive. A tree of an installed kernel
// has modules.alias, which depmod made; in one that only was unpacked the modules
// themselves are asked.
func Open(ctx context.Context, dir string) (*Tree, error) {
	t, err := List(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := t.builtinAliases(); err != nil {
		return nil, err
	}
	return t, t.moduleAliases(ctx)
}

// Serves reports whether a module asks for any device of a bus.
func (t *Tree) Serves(module, bus string) bool {
	return slices.ContainsFunc(t.aliases[bus], func(a alias) bool { return a.module == Name(module) })
}

// List reads which modules a tree has, and not what they drive.
func List(ctx context.Context, dir string) (*Tree, error) {
	t := &Tree{dir: dir, files: map[string]string{}, builtin: map[string]bool{}, aliases: aliasIndex{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			t.files[Name(d.Name())] = p
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read module tree: %w", err)
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read module tree: %w", err)
	}
	for line := range strings.Lines(string(builtin)) {
		t.builtin[Name(strings.TrimSpace(line))] = true
	}
	if len(t.files)+len(t.builtin) == 0 {
		return nil, fmt.Errorf("read module tree %s: it has no modules", dir)
	}
	return t, nil
}

// Has reports whether the kernel has a module of that name, loadable or built in.
func (t *Tree) Has(name string) bool { return t.Builtin(name) || t.File(name) != "" }

// Builtin reports whether a module of that name is part of the kernel's image.
func (t *Tree) Builtin(name string) bool { return t.builtin[Name(name)] }

// File is the path of a loadable module, "" where there is none.
func (t *Tree) File(name string) string { return t.files[Name(name)] }

// Drives lists the modules that ask for a device with that modalias.
func (t *Tree) Drives(modalias string) []string { return t.aliases.modules(modalias) }

// Name is the kernel's name of a module file: no folder, no suffix, and dashes
// written as underscores.
func Name(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// builtinAliases reads modules.builtin.modinfo: NUL-separated "module.key=value", since 5.2.
func (t *Tree) builtinAliases() error {
	b, err := os.ReadFile(filepath.Join(t.dir, "modules.builtin.modinfo"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read module tree: %w", err)
	}
	for line := range bytes.SplitSeq(b, []byte{0}) {
		key, pattern, _ := strings.Cut(string(line), "=")
		if module, ok := strings.CutSuffix(key, ".alias"); ok {
			t.aliases.add(pattern, Name(module))
		}
	}
	return nil
}

func (t *Tree) moduleAliases(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(t.dir, "modules.alias"))
	if err == nil {
		parseAliases(string(b), t.aliases)
		return nil
	}
	if !os.IsNotExist(err) {
		return fmt.Errorf("read module tree: %w", err)
	}
	return t.askModules(ctx)
}

// parseAliases reads modules.alias: "alias PATTERN MODULE".
func parseAliases(text string, into aliasIndex) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "alias" {
			into.add(f[1], Name(f[2]))
		}
	}
}

// askModules reads the aliases out of every module, as depmod does.
func (t *Tree) askModules(ctx context.Context) error {
	workers := runtime.GOMAXPROCS(0)
	shares := make([][]string, workers)
	for i, name := range slices.Sorted(maps.Keys(t.files)) {
		shares[i%workers] = append(shares[i%workers], t.files[name])
	}
	errs := make([]error, workers)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			errs[w] = eachModinfo(ctx, shares[w], func(file string, lines []string) {
				mu.Lock()
				defer mu.Unlock()
				for _, line := range lines {
					if pattern, ok := strings.CutPrefix(line, "alias="); ok {
						t.aliases.add(pattern, Name(file))
					}
				}
			})
		})
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// eachModinfo reads the modules' information, those packed with xz all at once.
func eachModinfo(ctx context.Context, files []string, f func(file string, lines []string)) error {
	xz := &xzStream{xz: findXZ()}
	for _, file := range files {
		if strings.HasSuffix(file, ".xz") && xz.xz != "" {
			xz.files = append(xz.files, file)
			continue
		}
		if ctx.Err() != nil {
			return nil // said by the caller
		}
		lines, err := Info(file)
		if err != nil {
			return err
		}
		f(file, lines)
	}
	if len(xz.files) == 0 {
		return nil
	}
	var damaged error
	err := xz.each(ctx, func(file string, module []byte) {
		lines, err := modinfoOf(module)
		if err != nil {
			damaged = errors.Join(damaged, fmt.Errorf("read module %s: %w", file, err))
			return
		}
		f(file, lines)
	})
	return errors.Join(err, damaged)
}

// maxModule bounds a module, unpacked.
const maxModule = 256 << 20

// Info reads the key=value lines of a module's .modinfo section.
func Info(name string) ([]string, error) {
	b, err := Read(name)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	lines, err := modinfoOf(b)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	return lines, nil
}

func modinfoOf(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, nil
	}
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range bytes.SplitSeq(data, []byte{0}) {
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines, nil
}

// Read returns a module unpacked.
func Read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(name) {
	case ".xz":
		r, err = xz.NewReader(f)
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1)); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(b) > maxModule {
		err = fmt.Errorf("more than %d MiB", maxModule>>20)
	}
	return b, err
}
