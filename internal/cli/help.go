package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"lastgood/internal/report"
)

// mostHelp is how wide help is at most: longer lines are hard to read.
const mostHelp = 100

// helpWidth is how wide help is.
func (e *Env) helpWidth() int {
	if w := e.width(); w > 0 {
		return min(w, mostHelp)
	}
	return mostHelp
}

func overview(width int) string {
	var b strings.Builder
	b.WriteString("lastgood: did this box come back the same way it went down?\n\n" +
		"Usage:\n  lastgood COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands() {
		if !c.hidden {
			hanging(&b, fmt.Sprintf("  %-10s  ", c.name), c.summary, width)
		}
	}
	b.WriteString("\nExit status:\n" + reflow(exitStatuses, width) +
		"\nExample, after a reboot:\n  lastgood check\n\n`lastgood COMMAND --help` tells more of each.\n")
	return b.String()
}

// exitStatuses are those of check and diff.
const exitStatuses = `  0  good, or learned: nothing to compare with yet
  1  regressed
  2  usage or internal error
  3  incomplete: something could not be measured or compared; this is never taken for a regression
  4  invalid: not the architecture or kernel that was meant
With -o nagios and -o npd the status is what those callers expect.
`

// usualStatus is the exit status of the commands that say nothing of their own.
const usualStatus = "The exit status is 0, or 2 where it could not be done."

// about is what the command does and what its exit status means.
func (c *command) about() string {
	text := strings.TrimSpace(c.long) + "\n"
	if !strings.Contains(text, "exit status") {
		text += "\n" + cmp.Or(c.status, usualStatus) + "\n"
	}
	return text
}

func usage(c command, flags *pflag.FlagSet, width int) string {
	var b strings.Builder
	hanging(&b, "", strings.ToUpper(c.summary[:1])+c.summary[1:]+".", width)
	b.WriteString("\nUsage:\n")
	hanging(&b, "  lastgood ", strings.TrimSpace(c.name+" "+c.args)+" [flags]", width)
	fmt.Fprintf(&b, "\n%s\nFlags:\n%s\nExample:\n  %s\n", reflow(c.about(), width), flags.FlagUsagesWrapped(width), c.example)
	return b.String()
}

// reflow wraps a text. Lines that begin with a blank are a list: each stays one, and what
// is wrapped of it stands beneath what is behind its first wide gap.
func reflow(text string, width int) string {
	var b strings.Builder
	var para []string
	flush := func() {
		if len(para) > 0 {
			hanging(&b, "", strings.Join(para, " "), width)
			para = nil
		}
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "":
			flush()
			b.WriteString("\n")
		case line[0] == ' ':
			flush()
			at := len(line) - len(strings.TrimLeft(line, " "))
			if gap := strings.Index(line[at:], "  "); gap >= 0 {
				at += gap
				at = len(line) - len(strings.TrimLeft(line[at:], " "))
			}
			hanging(&b, line[:at], line[at:], width)
		default:
			para = append(para, line)
		}
	}
	flush()
	return b.String()
}

// hanging writes a text behind a lead. The writer is memory, and does not fail.
func hanging(b *strings.Builder, lead, text string, width int) {
	_ = report.Prose(b, lead, text, report.Options{Width: width})
}

// meant guesses which of the known words was meant, as the beginning of a hint.
func meant(word string, known []string) string {
	best, least := "", 3
	if len(word) < 5 {
		least = 2
	}
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s? ", best)
}

func meantFlag(err error, flags *pflag.FlagSet) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return meant("--"+unknown.GetSpecifiedName(), names)
}

// distance is how many letters must be put in, left out, replaced or swapped with the
// next to make a of b. Words are short: of a long one nothing is guessed.
func distance(a, b string) int {
	const long = 40
	if len(a) > long || len(b) > long {
		return long
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
