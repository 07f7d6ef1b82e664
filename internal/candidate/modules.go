package candidate

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// moduleTree is what a tree lib/modules/RELEASE holds.
type moduleTree struct {
	dir     string
	files   map[string]string // name → path of each module file
	builtin map[string]bool
	aliases aliasIndex
}

// openTree reads a module tree. A tree of an installed kernel has modules.alias, which
// depmod made; in one that only was unpacked the modules themselves are asked.
func openTree(ctx context.Context, dir string) (*moduleTree, error) {
	t, err := listTree(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := t.builtinAliases(); err != nil {
		return nil, err
	}
	return t, t.moduleAliases(ctx)
}

// listTree reads which modules a tree has, and not what they drive.
func listTree(ctx context.Context, dir string) (*moduleTree, error) {
	t := &moduleTree{dir: dir, files: map[string]string{}, builtin: map[string]bool{}, aliases: aliasIndex{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			t.files[moduleName(d.Name())] = p
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
		t.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	if len(t.files)+len(t.builtin) == 0 {
		return nil, fmt.Errorf("read module tree %s: it has no modules", dir)
	}
	return t, nil
}

// has reports whether the kernel has a module of that name, loadable or built in.
func (t *moduleTree) has(name string) bool {
	name = moduleName(name)
	return t.builtin[name] || t.files[name] != ""
}

// moduleName is the kernel's name of a module file: no folder, no suffix, and dashes
// written as underscores.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// builtinAliases reads modules.builtin.modinfo: NUL-separated "module.key=value", since 5.2.
func (t *moduleTree) builtinAliases() error {
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
			t.aliases.add(pattern, moduleName(module))
		}
	}
	return nil
}

func (t *moduleTree) moduleAliases(ctx context.Context) error {
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
			into.add(f[1], moduleName(f[2]))
		}
	}
}

// askModules reads the aliases out of every module, as depmod does.
func (t *moduleTree) askModules(ctx context.Context) error {
	type answer struct {
		name string
		info []string
		err  error
	}
	work, answers := make(chan string), make(chan answer)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for name := range work {
				info, err := modinfo(t.files[name])
				answers <- answer{name, info, err}
			}
		})
	}
	go func() {
		defer close(answers)
		for name := range t.files {
			if ctx.Err() != nil {
				break
			}
			work <- name
		}
		close(work)
		wg.Wait()
	}()
	var errs []error
	for a := range answers {
		if a.err != nil && len(errs) < 3 {
			errs = append(errs, a.err)
		}
		for _, line := range a.info {
			if pattern, ok := strings.CutPrefix(line, "alias="); ok {
				t.aliases.add(pattern, a.name)
			}
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// maxModule bounds a module, unpacked.
const maxModule = 256 << 20

// modinfo reads the key=value lines of a module's .modinfo section.
func modinfo(name string) ([]string, error) {
	b, err := readModule(name)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, nil
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", name, err)
	}
	var lines []string
	for line := range bytes.SplitSeq(data, []byte{0}) {
		if len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines, nil
}

func readModule(name string) ([]byte, error) {
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
