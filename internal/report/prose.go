package report

import "io"

// Clean makes a text from the outside harmless on a terminal; line ends and tabs stay.
func Clean(s string) string { return clean(s) }

// Prose writes paragraphs, wrapped, each line of them behind the lead's width: the lead
// stands before the first.
func Prose(w io.Writer, lead, text string, o Options) error {
	p := newPage(w, o)
	p.line(lead, plain, text)
	return p.err
}
