package bootloader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lastgood/internal/sysfs"
)

// espMounts are where the EFI system partition and the extended boot partition are mounted.
var espMounts = []string{"/efi", "/boot", "/boot/efi"}

// findSystemdBoot is the mount point that holds systemd-boot's configuration, or "". The folder
// loader/entries alone is not enough: GRUB of Fedora keeps its entries there as well.
func findSystemdBoot(ctx context.Context, root *sysfs.Root) (string, error) {
	for _, dir := range espMounts {
		for _, name := range []string{"loader/loader.conf", "EFI/systemd/systemd-bootx64.efi", "EFI/systemd/systemd-bootaa64.efi"} {
			found, err := readable(ctx, root, path.Join(dir, name))
			if err != nil {
				return "", err
			}
			if found {
				return dir, nil
			}
		}
	}
	return "", nil
}

// sdEntry is an entry with what systemd-boot sorts by.
type sdEntry struct {
	Entry
	version, machine, sortKey string
	exhausted                 bool // its boot counter stands at zero
	image                     bool // a unified kernel image, whose version stands inside it
}

func readSystemdBoot(ctx context.Context, root *sysfs.Root, esp string, vars map[string]string, errs []error) (State, []error) {
	st := State{Loader: SystemdBoot, Dir: esp, Next: -1}
	text, err := readText(ctx, root, path.Join(esp, "loader/loader.conf"))
	if err != nil && !sysfs.Absent(err) {
		errs = append(errs, err)
	}
	var entries []sdEntry
	for _, boot := range bootPartitions(esp) {
		found, err := listEntries(ctx, root, boot)
		entries = append(entries, found...)
		errs = append(errs, present(err)...)
	}
	slices.SortStableFunc(entries, compareSystemd)
	for _, e := range entries {
		st.Entries = append(st.Entries, e.Entry)
	}
	st.Selected = st.named(vars["LoaderEntrySelected"])
	if len(errs) > 0 {
		st.Why = "not all of systemd-boot's settings could be read: " + errs[0].Error()
		return st, errs
	}
	st.pick(entries, vars, parseLoaderConf(text))
	return st, errs
}

// named is the ID of the entry that the loader calls so: in small letters, and before systemd 258
// with the boot counter that the file had when it was chosen. What is no entry's stays as it is.
func (s *State) named(id string) string {
	ext := path.Ext(id)
	bare := tries.ReplaceAllString(strings.TrimSuffix(id, ext), "") + ext
	for _, e := range s.Entries {
		if strings.EqualFold(e.ID, bare) {
			return e.ID
		}
	}
	return id
}

// bootPartitions are the ESP and, where they differ, the extended boot partition.
func bootPartitions(esp string) []string {
	if esp == "/boot" {
		return []string{esp}
	}
	return []string{esp, "/boot"}
}

// parseLoaderConf reads loader.conf: a key and a value a line; the last of a key counts.
func parseLoaderConf(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if i := strings.IndexAny(line, " \t"); i > 0 && line[0] != '#' {
			out[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return out
}

// listEntries reads both types of entries of one partition.
func listEntries(ctx context.Context, root *sysfs.Root, boot string) ([]sdEntry, error) {
	within := append([]string{boot}, bootMounts...)
	dir := path.Join(boot, "loader/entries")
	confs, err := readBLS(ctx, root, dir)
	if sysfs.Absent(err) && confs == nil {
		err = nil
	}
	var out []sdEntry
	for id, c := range confs {
		name := tries.ReplaceAllString(id, "")
		e := sdEntry{version: c.version, machine: c.machine, sortKey: c.sortKey, exhausted: exhausted(id)}
		e.Entry = Entry{ID: name + ".conf", Title: c.title, Release: c.release(), Options: c.options, Source: path.Join(dir, id+".conf")}
		if c.linux != "" {
			e.Linux = hostPath(ctx, root, c.linux, within)
		}
		for _, f := range c.initrd {
			e.Initrd = append(e.Initrd, hostPath(ctx, root, f, within))
		}
		out = append(out, e)
	}
	images, ierr := root.List(ctx, boot, "EFI/Linux")
	if ierr != nil && !sysfs.Absent(ierr) {
		err = errors.Join(err, ierr)
	}
	for _, n := range images {
		id, efi := strings.CutSuffix(n, ".efi")
		if !efi {
			continue
		}
		file := path.Join(boot, "EFI/Linux", n)
		name := tries.ReplaceAllString(id, "")
		out = append(out, sdEntry{image: true, exhausted: exhausted(id),
			Entry: Entry{ID: name + ".efi", Title: name, Release: releaseOf(name), Linux: file, Source: file}})
	}
	slices.SortFunc(out, func(a, b sdEntry) int { return strings.Compare(a.ID, b.ID) })
	return out, err
}

func exhausted(id string) bool {
	m := tries.FindStringSubmatch(id)
	return m != nil && strings.Trim(m[1], "0") == ""
}

// compareSystemd is boot_entry_compare of systemd's src/shared/bootspec.c: bad entries last, those
// with a sort-key first, the newest version before older ones.
func compareSystemd(a, b sdEntry) int {
	if a.exhausted != b.exhausted {
		if a.exhausted {
			return 1
		}
		return -1
	}
	if (a.sortKey == "") != (b.sortKey == "") {
		if a.sortKey == "" {
			return 1
		}
		return -1
	}
	if a.sortKey != "" {
		if c := cmp.Or(strings.Compare(a.sortKey, b.sortKey), strings.Compare(a.machine, b.machine), Compare(b.version, a.version)); c != 0 {
			return c
		}
	}
	return Compare(b.ID, a.ID)
}

// pick chooses as systemd-boot does: the one-shot variable, the default variable, loader.conf,
// the first of the sorted list.
func (s *State) pick(entries []sdEntry, vars, conf map[string]string) {
	version := loaderVersion(vars["LoaderInfo"])
	if len(entries) == 0 {
		s.Why = "systemd-boot has " + errNothing.Error()
		return
	}
	for _, set := range []struct{ why, want string }{
		{"one-shot (LoaderEntryOneShot)", vars["LoaderEntryOneShot"]},
		{"default (LoaderEntryDefault)", vars["LoaderEntryDefault"]},
		{"preferred (loader.conf)", conf["preferred"]},
		{"default (loader.conf)", conf["default"]},
	} {
		want := set.want
		if want == "@saved" {
			want, set.why = vars["LoaderEntryLastBooted"], "saved (LoaderEntryLastBooted)"
		}
		if want == "" {
			continue
		}
		i := slices.IndexFunc(entries, func(e sdEntry) bool {
			return version.matches(want, &e.Entry) && !(strings.HasPrefix(set.why, "preferred") && e.exhausted)
		})
		if i >= 0 {
			s.Next, s.Why = i, fmt.Sprintf("%s: %s", set.why, want)
			return
		}
		if strings.HasPrefix(want, "auto-") {
			s.Why = fmt.Sprintf("%s names %s, an entry that systemd-boot makes itself", set.why, want)
			return
		}
		s.Missing = cmp.Or(s.Missing, want)
	}
	if slices.ContainsFunc(entries, func(e sdEntry) bool { return e.image }) && len(entries) > 1 {
		s.Why = "nothing names an entry, and the order follows versions inside unified kernel images, which are not read"
		return
	}
	s.Next, s.Why = 0, "newest: nothing names an entry that exists"
}

// sdVersion is systemd-boot's, 0 where it does not say.
type sdVersion int

var loaderInfo = regexp.MustCompile(`^systemd-boot (\d{1,6})`)

// loaderVersion reads LoaderInfo: "systemd-boot 252.39-1~deb12u2".
func loaderVersion(info string) sdVersion {
	m := loaderInfo.FindStringSubmatch(info)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return sdVersion(n)
}

// matches reports whether this loader finds an entry by a setting. Before 258 it knows it by the
// name of its file with the boot counter in it, so that a name without it is of no entry
// (systemd's src/boot/boot.c, issue 38813).
func (v sdVersion) matches(want string, e *Entry) bool {
	name := path.Base(e.Source)
	switch {
	case v == 0:
		return idMatches(want, e.ID) || idMatches(want, name)
	case v < 258:
		return idMatches(want, name)
	}
	return idMatches(want, e.ID)
}

// loaderName is what names an entry in the loader's variables: its name, or where a boot counter
// stands in it a pattern that fits with any counter and without one, for the loader counts down
// before the next boot and systemd-bless-boot takes the counter away when it was good. All
// versions take patterns.
func loaderName(e *Entry) string {
	name := path.Base(e.Source)
	ext := path.Ext(name)
	if bare := strings.TrimSuffix(name, ext); tries.MatchString(bare) {
		return tries.ReplaceAllString(bare, "") + "[.+]*" + strings.TrimPrefix(ext, ".")
	}
	return e.ID
}

// leadsTo reports whether any version finds the entry by its setting, and no other one before it.
func (s *State) leadsTo(e *Entry) bool {
	for _, v := range []sdVersion{257, 258} {
		i := slices.IndexFunc(s.Entries, func(o Entry) bool { return v.matches(loaderName(e), &o) })
		if i < 0 || s.Entries[i].Source != e.Source {
			return false
		}
	}
	return true
}

// idMatches compares without regard to case, as the loader does on its file system; a pattern
// is a shell's.
func idMatches(pattern, id string) bool {
	pattern, id = strings.ToLower(pattern), strings.ToLower(id)
	if pattern == id || pattern+".conf" == id || pattern+".efi" == id {
		return true
	}
	ok, err := path.Match(pattern, id)
	return err == nil && ok
}
