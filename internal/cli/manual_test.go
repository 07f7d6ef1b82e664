package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// manDir holds the pages of the manual, one a command and one for all.
const manDir = "../../docs/man"

// shownCommands are those that people type.
func shownCommands() []command {
	var out []command
	for _, c := range commands() {
		if !c.hidden {
			out = append(out, c)
		}
	}
	return out
}

// flagsOf are a command's own flags, and those that all have.
func flagsOf(c command) (own, common *pflag.FlagSet) {
	own, common = pflag.NewFlagSet(c.name, pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags, common.SortFlags = false, false
	c.setup(own)
	(&session{}).commonFlags(common)
	return own, common
}

// rewritten holds committed files against what they are made of, and rewrites them with -update.
func rewritten(t *testing.T, dir string, made map[string]string) {
	t.Helper()
	for name, text := range made {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(string(have), text); d != "" {
			t.Errorf("%s is out of date; rewrite it with `go test ./internal/cli -run Docs -update` (-have +want):\n%s", path, d)
		}
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		if _, wanted := made[f.Name()]; !wanted {
			t.Errorf("%s/%s is of no command: remove it", dir, f.Name())
		}
	}
}

// TestDocsManual keeps the manual what the commands' own help says.
func TestDocsManual(t *testing.T) {
	pages := map[string]string{"lastgood.8": overviewPage()}
	for _, c := range shownCommands() {
		pages["lastgood-"+c.name+".8"] = commandPage(c, formatsOf(t, c.name))
	}
	rewritten(t, manDir, pages)
}

// roff protects what roff would take for its own: the backslash, a hyphen that is to stay one,
// and a dot or quote at the beginning of a line.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "°", `\[de]`, "×", `\[mu]`, "…", `\|.\|.\|.`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

var quoted = regexp.MustCompile("`([^`\n]+)`")

// prose is running text: paragraphs, words in bold where the help has them in back quotes, and lines
// that are indented as they are.
func prose(s string) string {
	var b strings.Builder
	asIs := false
	for line := range strings.Lines(strings.Trim(s, "\n")) {
		line = strings.TrimRight(line, "\n")
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !asIs:
			b.WriteString(".PP\n.nf\n")
		case !indented && asIs:
			b.WriteString(".fi\n")
		}
		if asIs = indented; line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(quoted.ReplaceAllString(roff(line), `\fB$1\fP`) + "\n")
	}
	if asIs {
		b.WriteString(".fi\n")
	}
	// mandoc and groff both complain of a paragraph that is followed by another.
	return strings.ReplaceAll(b.String(), ".PP\n.PP\n", ".PP\n")
}

func pageHead(name, summary string) string {
	return fmt.Sprintf(".\\\" Generated from the command's own help; see internal/cli/manual_test.go.\n.TH %s 8 \"\" lastgood \"System Administration\"\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(roff(name)), roff(name), roff(summary))
}

// placeholder is an argument list, the words in capitals being for the reader to fill in.
func placeholder(args string) string {
	return regexp.MustCompile(`[A-Z]{1,}`).ReplaceAllString(roff(args), `\fI$0\fP`)
}

func commandPage(c command, formats []string) string {
	own, common := flagsOf(c)
	var b strings.Builder
	b.WriteString(pageHead("lastgood-"+c.name, c.summary))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B lastgood %s\n%s\n", roff(c.name), strings.TrimSpace(placeholder(c.args)+` [\fIflags\fP]`))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s", prose(c.about()))
	b.WriteString(".SH OPTIONS\n" + flagList(own, nil))
	b.WriteString(".SS Of every command\n" + flagList(common, formats))
	b.WriteString(".SH EXAMPLES\n.nf\n")
	for line := range strings.Lines(c.example) {
		b.WriteString(roff(strings.TrimSpace(line)) + "\n")
	}
	b.WriteString(".fi\n.SH SEE ALSO\n.BR lastgood (8)\n")
	return b.String()
}

// flagList tells of flags; formats are those of -o.
func flagList(set *pflag.FlagSet, formats []string) string {
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		if f.Name == "output" {
			if len(formats) == 0 {
				return
			}
			value, usage = "format", "output format: "+strings.Join(formats, ", ")
		}
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(&b, `\fB\-%s\fP, `, f.Shorthand)
		}
		fmt.Fprintf(&b, `\fB\-\-%s\fP`, roff(f.Name))
		if value != "" {
			fmt.Fprintf(&b, ` \fI%s\fP`, roff(value))
		}
		b.WriteString("\n" + roff(usage))
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "0s" && d != "[]" {
			fmt.Fprintf(&b, " (default %s)", roff(d))
		}
		b.WriteString("\n")
	})
	return b.String()
}

// overviewPage is that of the units' Documentation=.
func overviewPage() string {
	var b strings.Builder
	b.WriteString(pageHead("lastgood", "did this box come back the same way it went down?"))
	b.WriteString(".SH SYNOPSIS\n.B lastgood\n\\fIcommand\\fP [\\fIflags\\fP]\n.SH DESCRIPTION\n")
	b.WriteString(prose("lastgood measures what the running kernel does to BPF programs, takes stock of the hardware and of what this\n" +
		"host does, and compares all of it with the last boot that was known to be good. Its units do so at every\n" +
		"boot, hold workloads where a boot is worse, and tell about it; `lastgood doctor` says what of this is in place."))
	b.WriteString(".SH COMMANDS\n")
	for _, c := range shownCommands() {
		fmt.Fprintf(&b, ".TP\n.BR lastgood\\-%s (8)\n%s\n", roff(c.name), roff(c.summary))
	}
	b.WriteString(".SH \"EXIT STATUS\"\nOf check and diff:\n" + prose(exitStatuses))
	b.WriteString(".SH ENVIRONMENT\nA flag that is not given is taken from its variable.\n.TP\n")
	var names []string
	for _, n := range fromEnvironment {
		names = append(names, `\fBLASTGOOD_`+strings.ToUpper(strings.ReplaceAll(n, "-", "_"))+`\fP`)
	}
	b.WriteString(strings.Join(names, ", ") + "\nas \\-\\-" + strings.Join(fromEnvironmentFlags(), ", \\-\\-") + "\n")
	b.WriteString(".SH FILES\n")
	for _, f := range [][2]string{
		{"/etc/lastgood/lastgood.yaml", "the configuration; every setting stands in it as a comment, with its default"},
		{"/etc/lastgood/contract.d/*.yaml", "what hosts of one class must have; examples are in /usr/share/doc/lastgood/contract.d"},
		{"/etc/lastgood/inhibit, /run/lastgood/inhibit", "while one of these is there nothing is rolled back"},
		{"/run/lastgood/hold", "while it is there the workloads are not started"},
		{"/var/lib/lastgood", "the snapshots, the last good boot, the messages that wait"},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	b.WriteString(".SH \"KERNEL COMMAND LINE\"\n.TP\n.B lastgood.skip\nthe units do nothing in this boot\n.SH \"SEE ALSO\"\n")
	all := shownCommands()
	for i, c := range all {
		end := " ,"
		if i == len(all)-1 {
			end = ""
		}
		fmt.Fprintf(&b, ".BR lastgood\\-%s (8)%s\n", roff(c.name), end)
	}
	return b.String()
}

func fromEnvironmentFlags() []string {
	var out []string
	for _, n := range fromEnvironment {
		out = append(out, roff(n))
	}
	return out
}

// TestManualIsWellFormed: groff has nothing to say about any page.
func TestManualIsWellFormed(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("groff is not installed (package groff)")
		}
		t.Skip("groff is not installed (package groff)")
	}
	pages, err := filepath.Glob(filepath.Join(manDir, "*.8"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages in %s: %v", len(pages), manDir, err)
	}
	for _, p := range pages {
		out, err := exec.Command(groff, "-ww", "-z", "-man", "-Tutf8", p).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", p, err, out)
		}
	}
}
