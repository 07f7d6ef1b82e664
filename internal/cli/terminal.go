package cli

import (
	"fmt"
	"strconv"
	"strings"

	"lastgood/internal/report"
)

func (s *session) options() report.Options {
	return report.Options{Color: s.env.color(), ASCII: s.env.ascii(), Width: s.env.width(), Verbose: s.verbose, Quiet: s.quiet}
}

// tell writes a sentence to the output, wrapped: behind a lead, if there is one.
func (s *session) tell(lead, format string, args ...any) error {
	if err := report.Prose(s.env.Out, lead, fmt.Sprintf(format, args...), s.options()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// width is the terminal's, else what COLUMNS says, else 0: there is none to keep to.
func (e *Env) width() int {
	if e.Width > 0 {
		return e.Width
	}
	if n, err := strconv.Atoi(e.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 0
}

// color says whether to paint: NO_COLOR (no-color.org) forbids it, CLICOLOR_FORCE asks
// for it where there is no terminal (bixense.com/clicolors), a dumb terminal has none.
func (e *Env) color() bool {
	switch force := e.Getenv("CLICOLOR_FORCE"); {
	case e.Getenv("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	}
	return e.OutTTY && !e.dumb() && e.Getenv("CLICOLOR") != "0"
}

// dumb says that the terminal knows no escape sequences.
func (e *Env) dumb() bool { return e.Getenv("TERM") == "dumb" }

// ascii says that the locale's encoding is not UTF-8 (locale(7): the first of the three
// that is set). A pipe without a locale, a unit's or a timer's, leads to a log in UTF-8.
func (e *Env) ascii() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := e.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return e.OutTTY
}

// errWidth is how long a line of progress may be.
func (e *Env) errWidth() int {
	if e.ErrWidth > 0 {
		return e.ErrWidth
	}
	if w := e.width(); w > 0 {
		return w
	}
	return 80
}

// draws says whether progress is shown: on a terminal that can wipe a line.
func (s *session) draws() bool { return s.env.ErrTTY && !s.quiet && !s.env.dumb() }

// fit is the beginning of a line of progress, as much as the terminal has room for: a
// longer one would be wrapped, and stay.
func (s *session) fit(line string) string {
	line = strings.Join(strings.Fields(report.Clean(line)), " ")
	room := s.env.errWidth() - 1
	for report.Width(line) > room {
		runes := []rune(line)
		line = string(runes[:len(runes)-1])
	}
	return line
}
