package bootloader

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"lastgood/internal/sysfs"
)

// grubDirs are where distributions keep grub.cfg. Beneath boot/efi lies the whole file on
// Red Hat's systems up to release 8 and a stub that leads to /boot/grub2 on later ones.
var grubDirs = []string{"/boot/grub", "/boot/grub2", "/boot/efi/EFI/redhat", "/boot/efi/EFI/centos", "/boot/efi/EFI/rocky", "/boot/efi/EFI/almalinux", "/boot/efi/EFI/fedora"}

// findGRUB is the folder of the grub.cfg that is read, or "".
func findGRUB(ctx context.Context, root *sysfs.Root) (string, error) {
	for _, dir := range grubDirs {
		found, err := readable(ctx, root, path.Join(dir, "grub.cfg"))
		if err != nil {
			return "", err
		}
		if found {
			return dir, nil
		}
	}
	return "", nil
}

// bootMounts are where a loader's absolute path may begin on the host.
var bootMounts = []string{"/boot", "/", "/boot/efi", "/efi"}

func readGRUB(ctx context.Context, root *sysfs.Root, dir string, errs []error) (State, []error) {
	st := State{Loader: GRUB, Dir: dir, Next: -1}
	st.Env, st.EnvErr = readGrubenv(ctx, root, dir)
	if st.EnvErr != nil && !sysfs.Absent(st.EnvErr) {
		errs = append(errs, st.EnvErr)
	}
	set, err := readDefaultGrub(ctx, root)
	errs = append(errs, present(err)...)
	st.Default, st.SaveDefault = set["GRUB_DEFAULT"], set["GRUB_SAVEDEFAULT"] == "true"
	name := path.Join(dir, "grub.cfg")
	text, err := readText(ctx, root, name)
	if err != nil {
		st.Why = "the boot loader's configuration could not be read: " + err.Error()
		return st, append(errs, err)
	}
	s := newScript(ctx, root, dir, &st)
	nodes, err := parseGrubScript(text)
	if err != nil {
		err = fmt.Errorf("parse %s: %w", name, err)
		st.Why = err.Error()
		return st, append(errs, err)
	}
	s.run(nodes)
	errs = append(errs, s.problems...)
	index := st.flatten(ctx, root, s.items, "", nil)
	if s.steps < 0 {
		st.Why = name + " runs too long to be followed"
		return st, errs
	}
	if len(s.problems) > 0 {
		st.Why = "not all of GRUB's menu could be read: " + s.problems[0].Error()
		return st, errs
	}
	st.decide(s, index)
	return st, errs
}

func newScript(ctx context.Context, root *sysfs.Root, dir string, st *State) *script {
	platform := "pc"
	efi, err := root.Exists(ctx, "/sys/firmware/efi")
	if efi {
		platform = "efi"
	}
	s := &script{
		vars: map[string]variable{
			"prefix": {value: dir}, "config_directory": {value: dir},
			"grub_platform": {value: platform, unknown: err != nil},
		},
		funcs: map[string][]node{}, source: path.Join(dir, "grub.cfg"), steps: maxSteps,
		env: st.Env, envUnknown: st.EnvErr != nil && !sysfs.Absent(st.EnvErr),
	}
	s.exists = func(name string) (bool, error) {
		if !strings.HasPrefix(name, dir+"/") {
			return false, fmt.Errorf("%s is not a path of the host", name)
		}
		return readable(ctx, root, name)
	}
	s.read = func(name string) (string, error) {
		if !strings.HasPrefix(name, dir+"/") && !strings.HasPrefix(name, "/boot/") {
			return "", fmt.Errorf("%s takes in %s, which cannot be found from here", s.source, name)
		}
		return readText(ctx, root, name)
	}
	s.bls = func(get func(string) string) ([]item, error) { return blsItems(ctx, root, get) }
	return s
}

// flatten lists all entries, those of submenus among them, and remembers where each stood.
func (s *State) flatten(ctx context.Context, root *sysfs.Root, items []item, prefix string, at []int) map[string]int {
	index := map[string]int{}
	for i, it := range items {
		here := append(append([]int{}, at...), i)
		if it.submenu {
			for k, v := range s.flatten(ctx, root, it.items, prefix+it.id+">", here) {
				index[k] = v
			}
			continue
		}
		e := Entry{ID: prefix + it.id, Title: it.title, Release: it.release, Options: it.option, Source: it.source}
		if it.linux != "" {
			e.Linux = hostPath(ctx, root, it.linux, bootMounts)
		}
		for f := range strings.FieldsSeq(it.initrd) {
			e.Initrd = append(e.Initrd, hostPath(ctx, root, f, bootMounts))
		}
		index[fmt.Sprint(here)] = len(s.Entries)
		s.Entries = append(s.Entries, e)
	}
	return index
}

// decide follows the variable that GRUB reads after its script: default.
func (s *State) decide(r *script, index map[string]int) {
	d := r.get("default")
	if d.unknown {
		s.Why = "grub.cfg sets the default by something that only GRUB can see, or by an environment block that could not be read"
		return
	}
	if len(s.Entries) == 0 {
		s.Why = "GRUB's menu has " + errNothing.Error()
		return
	}
	at, found, sure := choose(r.items, d.value)
	next, ok := index[fmt.Sprint(at)]
	switch {
	case !ok:
		s.Why = fmt.Sprintf("the default %q leads to a submenu without entries", d.value)
		return
	case !sure:
		s.Why = fmt.Sprintf("the default %q depends on entries that may or may not be in the menu", d.value)
		return
	}
	s.Next, s.Why = next, setting(r.defaultFrom, d.value)
	if !found {
		s.Missing = d.value
		s.Why = fmt.Sprintf("first entry, for %s names none", s.Why)
	}
}

// setting says in words what the default was taken from.
func setting(from, value string) string {
	_, err := strconv.Atoi(value)
	switch {
	case from == "next_entry":
		return "one-shot (next_entry=" + value + ")"
	case value == "":
		return "first entry (nothing is saved)"
	case from == "saved_entry":
		return "saved (saved_entry=" + value + ")"
	case err == nil:
		return "numeric default (" + value + ")"
	}
	return "default (" + value + ")"
}
