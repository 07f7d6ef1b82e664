package report

import (
	"io"
	"strings"
	"unicode"

	"lastgood/internal/snapshot"
)

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
	w       io.Writer
	o       Options
	width   int
	bounded bool   // by a terminal: a table must not be wider either
	hint    string // the last that was written
	err     error
}

// The width of text where no terminal gives one, and the least that is laid out for.
const (
	usualWidth = 100
	leastWidth = 40
)

func newPage(w io.Writer, o Options) *page {
	p := &page{w: w, o: o, width: usualWidth, bounded: o.Width > 0}
	if p.bounded {
		p.width = max(o.Width, leastWidth)
	}
	return p
}

// leastText is the room that a text wants behind a name.
const leastText = 24

// plainly is a text in the characters that the terminal shows. It comes before anything
// is measured, for an arrow is wider in ASCII.
func (p *page) plainly(s string) string {
	if p.o.ASCII {
		return ascii(s)
	}
	return s
}

func (p *page) write(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, strings.ReplaceAll(p.plainly(s), string(noBreak), " "))
	}
}

func (p *page) paint(s string, st style) string {
	if !p.o.Color || st == plain || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// bare is a text without colours.
func bare(s string) string {
	var b strings.Builder
	for {
		start := strings.Index(s, "\x1b[")
		if start < 0 {
			break
		}
		end := strings.IndexByte(s[start:], 'm')
		if end < 0 {
			break
		}
		b.WriteString(s[:start])
		s = s[start+end+1:]
	}
	return b.String() + s
}

// line writes lead once and the text behind it, wrapped, later lines indented by
// as much as lead is wide, or by a little where that leaves no room.
func (p *page) line(lead string, st style, text string) {
	lead = p.plainly(strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(lead)))
	indent := Width(lead)
	hang := indent
	if p.width-hang < leastText {
		hang = 6
	}
	for i, l := range wrap(p.plainly(clean(text)), p.width-indent, p.width-hang) {
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

// noBreak is a blank at which no line is broken.
const noBreak = '\u00a0'

// glued keeps a short text on one line.
func glued(s string) string {
	const most = 30
	if Width(s) > most {
		return s
	}
	return strings.ReplaceAll(s, " ", string(noBreak))
}

// wrap breaks a text at blanks into lines, the first of at most first columns, the
// others of at most rest; a longer word stays whole, for it is a path or a name to
// be copied. A number stays with its unit.
func wrap(text string, first, rest int) []string {
	var out []string
	for para := range strings.SplitSeq(text, "\n") {
		var line []string
		room := rest
		if out == nil {
			room = first
		}
		for _, word := range words(para) {
			n := Width(word)
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

// words are what a line may be broken between.
func words(s string) []string {
	out := strings.FieldsFunc(s, func(r rune) bool { return r != noBreak && unicode.IsSpace(r) })
	n := 0
	for i, w := range out {
		if i > 0 && isUnit(w) && endsInDigit(out[n-1]) {
			out[n-1] += string(noBreak) + w
			continue
		}
		out[n] = w
		n++
	}
	return out[:n]
}

func endsInDigit(s string) bool { c := s[len(s)-1]; return c >= '0' && c <= '9' }

// isUnit reports whether a word is a unit, as it stands in a sentence.
func isUnit(s string) bool {
	switch strings.TrimRight(s, ",.;:)") {
	case "%", "ns", "µs", "us", "ms", "s", "min", "h", "d", "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "°C", "C", "rpm", "V",
		"b/s", "kb/s", "Mb/s", "Gb/s", "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "GT/s", "MT/s", "insns", "states":
		return true
	}
	return false
}
