package hw

import (
	"context"
	"errors"
	"path"
	"strings"

	"lastgood/internal/sysfs"
)

const unitFolder = "/etc/systemd/system"

// setting is a line "Key=value" of a section.
type setting struct {
	section, key, value string
	line                int
}

// parseINI reads systemd.syntax(7) and its like: sections, settings, comments that begin with #
// or ;, and lines that a backslash continues.
func parseINI(text string) []setting {
	var out []setting
	section, carried, n := "", "", 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			carried += rest + " "
			continue
		}
		line, carried = carried+line, ""
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		if key, value, found := strings.Cut(line, "="); found {
			out = append(out, setting{section, strings.TrimSpace(key), strings.TrimSpace(value), n})
		}
	}
	return out
}

// lookup is the last value of a key.
func lookup(settings []setting, section, key string) string {
	value := ""
	for _, s := range settings {
		if s.section == section && s.key == key {
			value = s.value
		}
	}
	return value
}

// readSystemdUnits reads mount and swap units; those that a target pulls in are
// needed at boot.
func readSystemdUnits(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	mounts, err := inFolder(ctx, root, mountUnit, ".mount", unitFolder)
	swaps, err2 := inFolder(ctx, root, mountUnit, ".swap", unitFolder)
	out, errs := append(mounts, swaps...), []error{err, err2}
	for i := range out {
		for _, target := range []string{"local-fs.target.requires", "local-fs.target.wants", "multi-user.target.wants"} {
			there, err := root.Exists(ctx, unitFolder, target, path.Base(out[i].file))
			errs = append(errs, err)
			if there && out[i].need == "" {
				out[i].need = needBoot
			}
		}
		if out[i].need == "" {
			out[i].need = needLater
		}
	}
	return out, errors.Join(errs...)
}

// mountUnit reads What= of a mount or swap unit (systemd.mount(5), systemd.swap(5)). need is
// left open but where the unit says that it may be missing.
func mountUnit(_, text string) []mention {
	var out []mention
	all := parseINI(text)
	for _, s := range all {
		if s.key != "What" || (s.section != "Mount" && s.section != "Swap") {
			continue
		}
		m := mention{line: s.line, name: s.value, purpose: lookup(all, "Mount", "Where")}
		if s.section == "Swap" {
			m.purpose = "swap"
		}
		if strings.Contains(","+lookup(all, s.section, "Options")+",", ",nofail,") {
			m.need = needLater
		}
		if _, ok := baseOf(m.name, nil); ok && strings.HasPrefix(m.name, "/dev/") {
			out = append(out, m)
		}
	}
	return out
}
