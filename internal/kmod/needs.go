package kmod

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Resolve lists the modules to load for the wanted ones, in order. What is built in
// needs nothing; what the kernel does not have is missing.
func (t *Tree) Resolve(wanted ...string) (load []Module, missing []string, err error) {
	needs, err := t.needs()
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = Name(name)
		if seen[name] || t.builtin[name] {
			return nil
		}
		seen[name] = true
		if t.files[name] == "" {
			missing = append(missing, name)
			return nil
		}
		names, err := needs(name)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := add(n); err != nil {
				return err
			}
		}
		load = append(load, Module{Name: name, File: t.files[name]})
		return nil
	}
	for _, w := range wanted {
		if err := add(w); err != nil {
			return nil, nil, err
		}
	}
	return load, missing, nil
}

// needs tells what a module needs: by modules.dep, which depmod makes of an installed
// tree, or by the modules' own word in one that only was unpacked.
func (t *Tree) needs() (func(name string) ([]string, error), error) {
	b, err := os.ReadFile(filepath.Join(t.dir, "modules.dep"))
	if os.IsNotExist(err) {
		return t.ownNeeds, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read module tree: %w", err)
	}
	all := parseDep(string(b))
	return func(name string) ([]string, error) { return all[name], nil }, nil
}

// ownNeeds reads the line depends=A,B of a module's information.
func (t *Tree) ownNeeds(name string) ([]string, error) {
	lines, err := Info(t.files[name])
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if names, ok := strings.CutPrefix(line, "depends="); ok && names != "" {
			return strings.Split(names, ","), nil
		}
	}
	return nil, nil
}

// parseDep reads modules.dep: "path: path path". depmod writes last what is needed
// first, so the order is turned round.
func parseDep(text string) map[string][]string {
	needs := map[string][]string{}
	for line := range strings.Lines(text) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || file == "" {
			continue
		}
		fields := strings.Fields(rest)
		for i := len(fields) - 1; i >= 0; i-- {
			needs[Name(file)] = append(needs[Name(file)], Name(fields[i]))
		}
	}
	return needs
}
