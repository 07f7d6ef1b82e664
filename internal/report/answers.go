package report

import (
	"fmt"
	"io"
)

// AnswerRow is one question about this host with its answer.
type AnswerRow struct {
	Group    string // rows of one group follow each other
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

// Answers writes questions with their answers: what they come to, then one by one in
// their groups. Quiet leaves out what is as it should be.
func Answers(w io.Writer, all []AnswerRow, o Options) error {
	p := newPage(w, o)
	missing, untold := 0, 0
	for i := range all {
		switch all[i].state() {
		case stateMissing:
			missing++
		case stateUntold:
			if all[i].Wanted {
				untold++
			}
		}
	}
	switch {
	case missing > 0:
		p.line("NOT IN PLACE: ", red, fmt.Sprintf("%d to see to, %d could not be told", missing, untold))
	case untold > 0:
		p.line("INCOMPLETE: ", yellow, fmt.Sprintf("%d could not be told", untold))
	default:
		p.line("IN PLACE: ", green, "all that is asked for")
	}
	group := ""
	for i := range all {
		a := &all[i]
		st := a.state()
		if o.Quiet && (st == stateThere || !a.Wanted) {
			continue
		}
		if a.Group != group {
			group = a.Group
			p.write("\n")
			p.line("", bold, flat(group))
		}
		mark, color := st.mark()
		p.line(fmt.Sprintf("  %-2s  ", mark), color, joined(": ", flat(a.Question), cut(flat(a.Detail), longText)))
		if a.Hint != "" && a.Answer != answerYes {
			p.line("      hint: ", dim, cut(flat(a.Hint), longText))
		}
	}
	return p.err
}

// answerState is what an answer means, as doctor's exit status goes.
type answerState int

const (
	stateThere    answerState = iota
	stateOptional             // a no that is as good as a yes
	stateUntold
	stateMissing
)

func (s answerState) mark() (string, style) {
	switch s {
	case stateThere:
		return "ok", green
	case stateOptional:
		return "-", plain
	case stateMissing:
		return "NO", red
	}
	return "?", yellow
}

func (a *AnswerRow) state() answerState {
	switch {
	case a.Answer == answerYes:
		return stateThere
	case a.Answer == answerNo && !a.Wanted:
		return stateOptional
	case a.Answer == answerNo:
		return stateMissing
	}
	return stateUntold
}
