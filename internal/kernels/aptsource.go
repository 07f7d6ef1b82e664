package kernels

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"lastgood/internal/sysfs"
)

// maxSources bounds one file of apt sources, in bytes.
const maxSources = 1 << 20

// aptSource is one entry of apt's sources (sources.list(5)), for binary packages.
type aptSource struct {
	uris       []string
	suites     []string
	components []string
	options    []aptOption // Signed-By, Trusted and the like, as deb822 fields
}

type aptOption struct{ name, value string }

// option is the value of a deb822 field, "" if it is not set.
func (s aptSource) option(name string) string {
	for _, o := range s.options {
		if strings.EqualFold(o.name, name) {
			return o.value
		}
	}
	return ""
}

// without drops a field.
func (s aptSource) without(name string) aptSource {
	s.options = slices.DeleteFunc(slices.Clone(s.options), func(o aptOption) bool { return strings.EqualFold(o.name, name) })
	return s
}

// stanza writes s as deb822, with the package index as its only target: neither
// translations nor contents are wanted.
func (s aptSource) stanza(arch string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\n", strings.Join(s.uris, " "), strings.Join(s.suites, " "))
	if len(s.components) > 0 {
		fmt.Fprintf(&b, "Components: %s\n", strings.Join(s.components, " "))
	}
	fmt.Fprintf(&b, "Architectures: %s\nTargets: Packages\n", arch)
	for _, o := range s.options {
		fmt.Fprintf(&b, "%s: %s\n", o.name, o.value)
	}
	return b.String() + "\n"
}

// hasArch reports whether s offers packages of arch, a Debian name.
func (s aptSource) hasArch(arch string) bool {
	only := strings.FieldsFunc(s.option("Architectures"), func(r rune) bool { return r == ' ' || r == ',' })
	return len(only) == 0 || slices.Contains(only, arch)
}

// readSources reads the host's apt sources. A file that cannot be read or
// understood is an error beside what the others say.
func readSources(ctx context.Context, root *sysfs.Root) ([]aptSource, []error) {
	files := []string{"/etc/apt/sources.list"}
	names, err := root.List(ctx, "/etc/apt/sources.list.d")
	var errs []error
	if err != nil && !sysfs.Absent(err) {
		errs = append(errs, err)
	}
	for _, n := range names {
		if e := path.Ext(n); e == ".list" || e == ".sources" {
			files = append(files, path.Join("/etc/apt/sources.list.d", n))
		}
	}
	var all []aptSource
	for _, f := range files {
		b, err := root.Bytes(ctx, maxSources, f)
		if sysfs.Absent(err) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		parse := parseOneLine
		if path.Ext(f) == ".sources" {
			parse = parseDeb822Sources
		}
		found, err := parse(string(b))
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", f, err))
		}
		all = append(all, found...)
	}
	return all, errs
}

// oneLineOptions are the deb822 names of the options of a one-line entry.
var oneLineOptions = map[string]string{
	"arch": "Architectures", "signed-by": "Signed-By", "trusted": "Trusted", "by-hash": "By-Hash",
	"check-valid-until": "Check-Valid-Until", "valid-until-min": "Valid-Until-Min", "valid-until-max": "Valid-Until-Max",
	"check-date": "Check-Date", "date-max-future": "Date-Max-Future", "inrelease-path": "InRelease-Path",
	"allow-insecure": "Allow-Insecure", "allow-weak": "Allow-Weak", "allow-downgrade-to-insecure": "Allow-Downgrade-To-Insecure",
}

// parseOneLine reads sources in the one-line format; deb-src entries are passed
// over. What could be read is returned beside the error.
func parseOneLine(text string) ([]aptSource, error) {
	var all []aptSource
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' && rest[0] != '[' {
			continue
		}
		s, err := oneLine(strings.TrimSpace(rest))
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

func oneLine(text string) (aptSource, error) {
	var s aptSource
	if in, ok := strings.CutPrefix(text, "["); ok {
		options, after, ok := strings.Cut(in, "]")
		if !ok {
			return s, errors.New("options have no end")
		}
		for _, o := range strings.Fields(options) {
			k, v, _ := strings.Cut(o, "=")
			if name := oneLineOptions[strings.ToLower(k)]; name != "" {
				s.options = append(s.options, aptOption{name, strings.ReplaceAll(v, ",", " ")})
			}
		}
		text = after
	}
	words := strings.Fields(text)
	if len(words) < 2 {
		return s, errors.New("want an address and a suite")
	}
	s.uris, s.suites, s.components = words[:1], words[1:2], words[2:]
	return s, s.check()
}

// check refuses what would break out of its field when it is written again.
func (s aptSource) check() error {
	if len(s.uris) == 0 || len(s.suites) == 0 {
		return errors.New("want an address and a suite")
	}
	exact := strings.HasSuffix(s.suites[0], "/")
	if exact != (len(s.components) == 0) {
		return fmt.Errorf("suite %q: components go with a suite, and none with a path", s.suites[0])
	}
	return nil
}

// parseDeb822Sources reads sources in deb822 format; disabled entries and those
// for sources only are passed over. Fields that spread over lines, such as a key
// in Signed-By, stay whole.
func parseDeb822Sources(text string) ([]aptSource, error) {
	var all []aptSource
	var errs []error
	for _, fields := range deb822(text) {
		s := aptSource{}
		enabled, binary := true, false
		for _, f := range fields {
			switch strings.ToLower(f.name) {
			case "types":
				binary = slices.Contains(strings.Fields(f.value), "deb")
			case "uris":
				s.uris = strings.Fields(f.value)
			case "suites":
				s.suites = strings.Fields(f.value)
			case "components":
				s.components = strings.Fields(f.value)
			case "enabled":
				enabled = !slices.Contains([]string{"no", "false", "off", "0", "without", "disable"}, strings.ToLower(f.value))
			default:
				if known(f.name) {
					s.options = append(s.options, f)
				}
			}
		}
		if !enabled || !binary {
			continue
		}
		if err := s.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

// known keeps the fields that decide what is fetched and trusted. Others (Targets,
// Languages, PDiffs) are for what lastgood does not fetch.
func known(name string) bool {
	for _, v := range oneLineOptions {
		if strings.EqualFold(v, name) {
			return true
		}
	}
	return false
}

// deb822 splits a text into stanzas of fields. Lines that continue a field keep
// their leading blank and their newline; comments are dropped.
func deb822(text string) [][]aptOption {
	var all [][]aptOption
	var now []aptOption
	for _, line := range strings.Split(text+"\n", "\n") {
		line = strings.TrimRight(line, " \t\r")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if len(now) > 0 {
				all = append(all, now)
			}
			now = nil
		case line[0] == ' ' || line[0] == '\t':
			if len(now) > 0 {
				now[len(now)-1].value += "\n" + line
			}
		default:
			if name, value, ok := strings.Cut(line, ":"); ok {
				now = append(now, aptOption{strings.TrimSpace(name), strings.TrimSpace(value)})
			}
		}
	}
	if len(now) > 0 {
		all = append(all, now)
	}
	return all
}
