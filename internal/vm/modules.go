package vm

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Module is one kernel module as a file of the candidate's own tree.
type Module struct {
	Name string
	File string
}

// maxModule bounds one module, unpacked. The largest of Debian's are GPU drivers
// of some 30 MB.
const maxModule = 128 << 20

// ModuleSet is a kernel's own list of modules and what each needs.
type ModuleSet struct {
	tree    string
	files   map[string]string   // name → path in the tree
	needs   map[string][]string // name → names, nearest last
	builtin map[string]bool
}

// OpenModules reads modules.dep and modules.builtin of a tree lib/modules/RELEASE.
func OpenModules(tree string) (*ModuleSet, error) {
	dep, err := os.ReadFile(filepath.Join(tree, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("read module tree: %w", err)
	}
	s := &ModuleSet{tree: tree, builtin: map[string]bool{}}
	s.files, s.needs = parseDep(string(dep))
	builtin, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read module tree: %w", err)
	}
	for line := range strings.Lines(string(builtin)) {
		s.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	return s, nil
}

// parseDep reads modules.dep: "path: path path", the file that is needed first
// standing last (depmod writes them so).
func parseDep(text string) (files map[string]string, needs map[string][]string) {
	files, needs = map[string]string{}, map[string][]string{}
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || file == "" {
			continue
		}
		name := moduleName(file)
		files[name] = file
		for dep := range strings.FieldsSeq(rest) {
			needs[name] = append(needs[name], moduleName(dep))
		}
	}
	return files, needs
}

// moduleName is the kernel's name of a module file: no folder, no suffix, and
// dashes written as underscores.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// Resolve lists the modules to load for the wanted ones, in order. What is built
// in needs nothing; what the kernel does not have is missing.
func (s *ModuleSet) Resolve(wanted ...string) (load []Module, missing []string) {
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		name = moduleName(name)
		if seen[name] || s.builtin[name] {
			return
		}
		seen[name] = true
		file, ok := s.files[name]
		if !ok {
			missing = append(missing, name)
			return
		}
		needs := s.needs[name]
		for i := len(needs) - 1; i >= 0; i-- {
			add(needs[i])
		}
		load = append(load, Module{Name: name, File: filepath.Join(s.tree, filepath.Clean("/"+file))})
	}
	for _, w := range wanted {
		add(w)
	}
	return load, missing
}

// read returns the module unpacked: the guest's kernel may have no decompressor
// of its own (finit_module's flag for it came with 5.17).
func (m *Module) read() ([]byte, error) {
	data, err := unpackModule(m.File)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", m.File, err)
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return nil, fmt.Errorf("read module %s: not an ELF file", m.File)
	}
	return data, nil
}

func unpackModule(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	switch {
	case strings.HasSuffix(name, ".xz"):
		r, err = xz.NewReader(f)
	case strings.HasSuffix(name, ".gz"):
		r, err = gzip.NewReader(f)
	case strings.HasSuffix(name, ".zst"):
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(data) > maxModule {
		err = fmt.Errorf("more than %d MiB", maxModule>>20)
	}
	return data, err
}
