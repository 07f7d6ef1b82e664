package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// AnswerRow is one question about this host with its answer.
type AnswerRow struct {
	Question string
	Answer   string // yes, no or could not tell
	Wanted   bool   // no is worse than yes
	Detail   string
	Hint     string // the way out, where the answer is not yes
}

// The answers that are known; any other is that it could not be told.
const (
	answerYes = "yes"
	answerNo  = "no"
)

// Answers writes questions with their answers: how many are as they should be, then one by
// one, first those that are not.
func Answers(w io.Writer, all []AnswerRow, o Options) error {
	p := newPage(w, o)
	missing, untold := 0, 0
	for _, a := range all {
		switch a.rank() {
		case 0:
			missing++
		case 1:
			untold++
		}
	}
	switch {
	case missing > 0:
		p.line("NOT IN PLACE: ", red, fmt.Sprintf("%d of %d, %d could not be told", missing, len(all), untold))
	case untold > 0:
		p.line("INCOMPLETE: ", yellow, fmt.Sprintf("%d of %d could not be told", untold, len(all)))
	default:
		p.line("IN PLACE: ", green, "all that was asked for")
	}
	if o.Quiet {
		return p.err
	}
	p.write("\n")
	for _, a := range slices.SortedStableFunc(slices.Values(all), func(a, b AnswerRow) int { return cmp.Compare(a.rank(), b.rank()) }) {
		p.line(fmt.Sprintf("  %-14s  ", flat(a.Answer)), []style{red, yellow, plain, green}[a.rank()], joined(": ", flat(a.Question), cut(flat(a.Detail), longText)))
		if a.Hint != "" && a.Answer != answerYes {
			p.line(fmt.Sprintf("  %-14s  hint: ", ""), dim, cut(flat(a.Hint), longText))
		}
	}
	return p.err
}

// rank is 0 for what is missing, 1 for what could not be told, 2 for a no that is as good
// as a yes, 3 for a yes: as doctor's exit status goes.
func (a *AnswerRow) rank() int {
	switch {
	case a.Answer == answerYes:
		return 3
	case a.Answer == answerNo && a.Wanted:
		return 0
	case a.Answer == answerNo:
		return 2
	}
	return 1
}
