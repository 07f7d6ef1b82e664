package page

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// How much of one text is shown; the JSON has all of it.
const (
	shortText = 120
	longText  = 600
	wholeText = 4000
)

// piece is a run of text, in the type of code where it stood between backticks.
type piece struct {
	Text string
	Code bool
}

// pieces cuts a sentence at its backticks. One that is not closed is text.
func pieces(s string) []piece {
	s = report.Flat(s, longText)
	var out []piece
	for s != "" {
		before, rest, ok := strings.Cut(s, "`")
		code, after, closed := strings.Cut(rest, "`")
		if !ok || !closed {
			return append(out, piece{Text: s})
		}
		if before != "" {
			out = append(out, piece{Text: before})
		}
		if code != "" {
			out = append(out, piece{Text: code, Code: true})
		}
		s = after
	}
	return out
}

// anchor is a stable id for an element: of the same things always the same, whatever
// signs are in them. word must be ours or is made fit.
func anchor(word string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return slug(word) + "-" + hex.EncodeToString(sum[:5])
}

// slug makes a word fit for an id: lower case letters, digits and dashes.
func slug(word string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, word[:min(len(word), 40)])
	out = strings.Trim(out, "-")
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		return "x" + out
	}
	return out
}

// findingAnchor is the anchor of a finding, by its code and its subject.
func findingAnchor(f *snapshot.Finding) string {
	return anchor(f.Code, f.Code, f.Subject.Kind, f.Subject.ID, f.Attr)
}

// moment is a time for a person and for a machine.
type moment struct{ ISO, Text string }

func at(t time.Time) moment {
	if t.IsZero() || t.Unix() <= 0 { // a host without a clock of its own begins in 1970
		return moment{}
	}
	t = t.UTC()
	return moment{t.Format(time.RFC3339), t.Format("2 Jan 2006, 15:04 UTC")}
}

// clean is a name from outside on one line.
func clean(s string) string { return report.Flat(s, shortText) }

// start is the beginning of an identifier.
func start(s string, n int) string {
	r := []rune(report.Flat(s, longText))
	return string(r[:min(n, len(r))])
}

// cut is the beginning of a name, with a sign that there is more of it.
func cut(s string, n int) string {
	if short := start(s, n); short != start(s, n+1) {
		return start(s, n-1) + "…"
	}
	return start(s, n)
}

// count is a number with commas at the thousands.
func count(v float64) string {
	if v == float64(int64(v)) {
		return snapshot.Count.Format(snapshot.Int(int64(v)))
	}
	return snapshot.Count.Format(snapshot.Float(v))
}

// percent is a share in per cent; one decimal where that is less than ten, or so near to all
// of it that it would be taken for it.
func percent(p float64) string {
	switch {
	case p > 0 && p < 0.1:
		return "< 0.1 %"
	case p > 99 && p < 100:
		return fmt.Sprintf("%.1f %%", min(p, 99.9))
	}
	if p < 10 && p != float64(int(p)) {
		return fmt.Sprintf("%.1f %%", p)
	}
	return fmt.Sprintf("%.0f %%", p)
}

// plural is so many of a thing.
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(float64(n)) + " " + more
}
