package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/report"
	"lastgood/internal/sysfs"
)

// console is a recorded host's state folder with two boots, the second worse, in the
// present folder, for its path is part of what is printed.
type console struct {
	t      *testing.T
	golden string // folder
	root   string // the recorded host that runs
	trees  map[string]*sysfs.Root
}

// open unpacks a recording once: what is looked at is what commands write, and there
// are hundreds of them.
func (c *console) open(name string) (*sysfs.Root, error) {
	if r := c.trees[name]; r != nil {
		return r, nil
	}
	r, err := sysfs.OpenTree(name)
	if err == nil {
		c.trees[name] = r
	}
	return r, err
}

func newConsole(t *testing.T, before, after string) *console {
	t.Helper()
	t.Setenv("PCIDB_PATH", filepath.Join(t.TempDir(), "none")) // names are of the list that a host has
	golden, err := filepath.Abs(filepath.Join("testdata", "console"))
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := filepath.Abs(hostsFolder)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for i, name := range []string{before, after} {
		withBoot(t, filepath.Join(hosts, name+".tar.gz"), name+".tar.gz", fmt.Sprintf("%d2345678-0000-4000-8000-000000000000", i))
	}
	if err := os.WriteFile("contract.yaml", []byte(consoleContract), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, golden: golden, root: before + ".tar.gz", trees: map[string]*sysfs.Root{}}
	c.say(map[string]string{"COLUMNS": "80"}, "check")
	c.root = after + ".tar.gz"
	c.say(map[string]string{"COLUMNS": "80"}, "check")
	return c
}

// withBoot writes a recording anew with a boot's id, which recordings leave out.
func withBoot(t *testing.T, from, to, id string) {
	t.Helper()
	packed, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	w := tar.NewWriter(zw)
	add := func(h *tar.Header, r io.Reader) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	last := &tar.Header{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		add(h, r)
		last = h
	}
	add(&tar.Header{Name: "proc/sys/kernel/random/boot_id", Mode: 0o444, Size: int64(len(id)), ModTime: last.ModTime}, strings.NewReader(id))
	if err := errors.Join(w.Close(), zw.Close(), os.WriteFile(to, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

const consoleContract = `apiVersion: lastgood.dev/v1
kind: HostContract
metadata: {name: storage}
checks:
  - {id: root, file: {path: /}}
  - {id: a-file-that-is-not-there, file: {path: /srv/a/folder/with/a/rather/long/name/and/a/file}}
  - {id: wanted, severity: wanted, file: {path: /no/such/file}}
  - {id: not-due, within: 24h, file: {path: /no/such/file}}
`

// say runs a command on the recorded host and gives all that it says.
func (c *console) say(env map[string]string, args ...string) string {
	c.t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--root", c.root, "--state-dir", "state", "--config", "lastgood.yaml")
	if err := os.WriteFile("lastgood.yaml", nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	_, err := run(c.t.Context(), args, Env{In: strings.NewReader(""), Out: &out, Err: &errs, OutTTY: env["TTY"] != "", openTree: c.open, Getenv: func(k string) string {
		if k == "LANG" && env[k] == "" {
			return "C.UTF-8"
		}
		return env[k]
	}})
	if err != nil {
		printError(&errs, err)
	}
	text := out.String()
	if text == "" {
		c.t.Logf("lastgood %s wrote nothing; errors: %s", strings.Join(args, " "), errs.String())
	}
	return moments.ReplaceAllString(text, "2026-01-02 03:04")
}

// moments are when something was accepted or checked, which is now.
var moments = regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d`)

// consoleCommands are those that write a table; the last good boot is accepted before.
var consoleCommands = []struct {
	name string
	args []string
}{
	{"check", []string{"check"}},
	{"check.verbose", []string{"check", "-v"}},
	{"check.quiet", []string{"check", "-q"}},
	{"diff", []string{"diff", "last-good", "current"}},
	{"inventory", []string{"inventory"}},
	{"list", []string{"list"}},
	{"show", []string{"show", "current"}},
	{"snapshot", []string{"snapshot", "-o", "table"}},
	{"contract", []string{"contract", "check", "contract.yaml"}},
	{"preflight", []string{"preflight", "--last"}},
	{"preflight.verbose", []string{"preflight", "--last", "-v"}},
	{"gate", []string{"gate", "--run-dir", "run", "--settle", "0s"}},
	{"decide", []string{"decide", "--dry-run", "--run-dir", "run"}},
	{"notify", []string{"notify", "--run-dir", "run"}},
	{"accept", []string{"accept", "last-good"}},
	{"families", []string{"probe", "--list"}},
}

// changing is output that is of this machine or of the catalogue, and not of the recording.
var changing = map[string]bool{"families": true, "check.verbose": true}

// TestConsole holds what every command writes on a terminal of 80 columns, and of 60.
func TestConsole(t *testing.T) {
	c := newConsole(t, "full61", "full612")
	c.keepPreflight()
	for _, cmd := range consoleCommands {
		for _, width := range []string{"80", "60"} {
			got := c.say(map[string]string{"COLUMNS": width}, cmd.args...)
			if got == "" {
				t.Errorf("%s: it writes nothing", cmd.name)
			}
			if changing[cmd.name] {
				continue
			}
			c.compare(cmd.name+"."+width+".txt", got)
		}
	}
}

func (c *console) compare(name, got string) {
	c.t.Helper()
	file := filepath.Join(c.golden, name)
	if *update {
		if err := os.MkdirAll(c.golden, 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatalf("%v; run with -update", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		c.t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// keepPreflight keeps a report on a kernel that does not run, as preflight does.
func (c *console) keepPreflight() {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.golden, "..", "..", "..", "report", "testdata", "preflight.1.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := report.Decode(b)
	if err != nil {
		c.t.Fatal(err)
	}
	s := &session{stateDir: "state"}
	if err := s.keepPreflight(r); err != nil {
		c.t.Fatal(err)
	}
}

// TestConsoleWidth: on every recorded host no command writes a line that is wider than
// the terminal, but for a word that cannot be broken; colours take no room and say
// nothing that is not written; what a C locale gets is ASCII.
func TestConsoleWidth(t *testing.T) {
	hosts, err := filepath.Glob(filepath.Join(hostsFolder, "*.tar.gz"))
	if err != nil || len(hosts) < 10 {
		t.Fatalf("%d recorded hosts, %v", len(hosts), err)
	}
	for i, host := range hosts {
		before := strings.TrimSuffix(filepath.Base(hosts[(i+1)%len(hosts)]), ".tar.gz")
		after := strings.TrimSuffix(filepath.Base(host), ".tar.gz")
		t.Run(after, func(t *testing.T) {
			c := newConsole(t, before, after)
			for _, cmd := range consoleCommands {
				if cmd.name == "families" || strings.HasPrefix(cmd.name, "preflight") {
					continue // they say the same on every host
				}
				c.fits(cmd.args)
			}
		})
	}
	c := newConsole(t, "full61", "full612")
	c.keepPreflight()
	for _, args := range [][]string{{"probe", "--list"}, {"preflight", "--last"}} {
		c.fits(args)
	}
	for _, cmd := range commands() {
		c.fits([]string{cmd.name, "--help"})
	}
	for _, width := range []int{60, 80, 120} {
		for line := range strings.Lines(overview(width)) {
			if report.Width(line) > width+1 { // with its end
				t.Errorf("help at %d: %q", width, line)
			}
		}
	}
}

func (c *console) fits(args []string) {
	c.t.Helper()
	name := strings.Join(args, " ")
	for _, width := range []int{60, 80, 120} {
		columns := fmt.Sprint(width)
		plain := c.say(map[string]string{"COLUMNS": columns, "TTY": "1", "NO_COLOR": "1"}, args...)
		for line := range strings.Lines(plain) {
			line = strings.TrimSuffix(line, "\n")
			if n := report.Width(line); n > width && !oneWord(line) {
				c.t.Errorf("%s at %d: a line of %d columns: %q", name, width, n, line)
			}
		}
		if width != 80 {
			continue
		}
		coloured := c.say(map[string]string{"COLUMNS": columns, "TTY": "1"}, args...)
		if d := cmp.Diff(took.ReplaceAllString(plain, ""), took.ReplaceAllString(escape.ReplaceAllString(coloured, ""), "")); d != "" {
			c.t.Errorf("%s: in colour (-plain +got without escapes):\n%s", name, d)
		}
		for _, r := range c.say(map[string]string{"COLUMNS": columns, "LANG": "C", "TERM": "dumb", "TTY": "1"}, args...) {
			if r > '~' || r == '\x1b' {
				c.t.Errorf("%s: %q on a dumb terminal with LANG=C", name, r)
				break
			}
		}
	}
}

// took is how long something took, which differs from run to run.
var took = regexp.MustCompile(`took +[0-9.]+ m?s`)

// oneWord reports whether a line is a word behind what leads up to it: marks of a tree
// and of a list, and at most a few short words, as of a note.
func oneWord(line string) bool {
	words := strings.Fields(strings.Trim(line, " │├└─|`-"))
	return len(words) == 1 || strings.HasPrefix(line, "  lastgood ") && len(words) > 1
}

// TestLocale: only a locale that is not UTF-8 gets ASCII, and a terminal without one.
func TestLocale(t *testing.T) {
	for _, c := range []struct {
		env   map[string]string
		tty   bool
		ascii bool
	}{
		{nil, false, false}, {nil, true, true}, {map[string]string{"LANG": "C"}, false, true}, {map[string]string{"LANG": "de_DE.UTF-8"}, true, false},
		{map[string]string{"LANG": "en_US.utf8"}, true, false}, {map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}, false, true},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.UTF-8"}, true, false}, {map[string]string{"LANG": "de_DE"}, true, true},
	} {
		e := Env{OutTTY: c.tty, Getenv: func(k string) string { return c.env[k] }}
		if got := e.ascii(); got != c.ascii {
			t.Errorf("%v, terminal %v: ASCII is %v", c.env, c.tty, got)
		}
	}
}

func TestColourIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		tty  bool
		want bool
	}{
		{nil, true, true}, {nil, false, false}, {map[string]string{"NO_COLOR": "1"}, true, false}, {map[string]string{"TERM": "dumb"}, true, false},
		{map[string]string{"CLICOLOR": "0"}, true, false}, {map[string]string{"CLICOLOR": "1"}, false, false}, {map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, false, false}, {map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, true, false},
	} {
		e := Env{OutTTY: c.tty, Getenv: func(k string) string { return c.env[k] }}
		if got := e.color(); got != c.want {
			t.Errorf("%v, terminal %v: colour is %v", c.env, c.tty, got)
		}
	}
}

// TestProgressFits: a line of progress that is wrapped cannot be wiped.
func TestProgressFits(t *testing.T) {
	s := &session{env: Env{ErrWidth: 20, Getenv: func(string) string { return "" }}}
	for in, want := range map[string]string{"short": "short", "a line that is too long": "a line that is too ", "\x1b[2Jx\ny": "\ufffd[2Jx y", "名前名前名前名前名前名前": "名前名前名前名前名"} {
		if got := s.fit(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	s.env.ErrTTY = true
	if s.env.Getenv = func(k string) string { return map[string]string{"TERM": "dumb"}[k] }; s.draws() {
		t.Error("progress is drawn on a dumb terminal")
	}
}
