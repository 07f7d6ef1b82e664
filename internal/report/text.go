package report

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"lastgood/internal/snapshot"
)

// clean makes a text from the outside harmless on a terminal: devices name
// themselves, and a name may hold an escape sequence. Line ends and tabs stay.
func clean(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unsafeRune(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// unsafeRune tells what may move the cursor, change the direction of writing or
// break the line: controls (C0, C1), formats (bidi, zero width), U+2028 and U+2029.
func unsafeRune(r rune) bool {
	if r < 0x7f { // nearly all there is
		return r < ' ' && r != '\n' && r != '\t'
	}
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// flat is clean for what must stay on one line: a name in a tree, a cell of a table.
func flat(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// cut is a text of at most so many runes. What a device or a kernel says can be
// of any length; the whole of it is in the JSON.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// style is an ANSI colour by what it means.
type style string

const (
	plain  style = ""
	bold   style = "1"
	red    style = "1;31"
	yellow style = "33"
	green  style = "32"
	dim    style = "2"
)

var verdictStyles = map[snapshot.Verdict]style{
	snapshot.Good: green, snapshot.Learned: green, snapshot.Regressed: red, snapshot.Incomplete: yellow, snapshot.Invalid: red,
}

var severityStyles = map[snapshot.Severity]style{snapshot.Critical: red, snapshot.Warning: yellow, snapshot.Info: dim}

// page writes lines of a width, in colour or not; the first error of the writer is kept.
type page struct {
	w     io.Writer
	o     Options
	width int
	err   error
}

func newPage(w io.Writer, o Options) *page {
	p := &page{w: w, o: o, width: o.Width}
	if p.width <= 0 {
		p.width = 100
	}
	p.width = max(p.width, 40)
	return p
}

func (p *page) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

func (p *page) paint(s string, st style) string {
	if !p.o.Color || st == plain || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// line writes lead once and the text behind it, wrapped, later lines indented by
// as much as lead is wide, or by a little where lead fills half the page.
func (p *page) line(lead string, st style, text string) {
	lead = strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(lead))
	indent := utf8.RuneCountInString(lead)
	hang := indent
	if hang > p.width/2 {
		hang = 6
	}
	for i, l := range wrap(clean(text), p.width-indent, p.width-hang) {
		if i > 0 {
			lead, st = strings.Repeat(" ", hang), plain
		}
		if l == "" {
			lead = strings.TrimRight(lead, " ")
		}
		p.write(p.paint(lead, st) + l + "\n")
	}
}

func (p *page) head(text string) { p.write("\n" + p.paint(flat(text), bold) + "\n") }

// wrap breaks a text at blanks into lines, the first of at most first columns, the
// others of at most rest; a longer word stays whole, for it is a path or a name to
// be copied.
func wrap(text string, first, rest int) []string {
	var out []string
	for para := range strings.SplitSeq(text, "\n") {
		var line []string
		room := rest
		if out == nil {
			room = first
		}
		for word := range strings.FieldsSeq(para) {
			n := utf8.RuneCountInString(word)
			if len(line) > 0 && n >= room {
				out = append(out, strings.Join(line, " "))
				line, room = nil, rest
			}
			if len(line) > 0 {
				n++
			}
			line = append(line, word)
			room -= n
		}
		out = append(out, strings.Join(line, " "))
	}
	return out
}
