package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"lastgood/internal/gate"
	"lastgood/internal/report"
)

func doctorCommand() command {
	return command{
		anyConfig: true,
		name:      "doctor", summary: "what of lastgood is in place on this host, and what is not",
		long: `Asks, one line each: is it so? ok, NO where that wants somebody's hand, ? where it could not be
told, - where no is as good as yes. What is not ok has a way out below it. --quiet shows only that.
The exit status is 0 where nothing that was asked for is missing, 1 where something is, and
3 where something could not be told.`,
		example: "lastgood doctor -q",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			g := gateFlags(f)
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return g.doctor(ctx, s)
			}
		},
	}
}

// answerLine is one question of doctor's with its answer.
type answerLine struct {
	Group    string      `json:"group"`
	Question string      `json:"question"`
	Answer   gate.Answer `json:"answer"`
	// Wanted is false where no is as good as yes.
	Wanted bool   `json:"wanted"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

func (g *gateRun) doctor(ctx context.Context, s *session) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	if err := g.open(ctx, s); err != nil {
		return exitUsage, err
	}
	lines := g.askAll(ctx)
	if format == "json" {
		enc := json.NewEncoder(s.env.Out)
		enc.SetIndent("", " ")
		return doctorStatus(lines), enc.Encode(lines)
	}
	return doctorStatus(lines), report.Answers(s.env.Out, answerRows(lines), s.options())
}

// askAll asks everything, in the order in which one thing leans on another.
func (g *gateRun) askAll(ctx context.Context) []answerLine {
	var lines []answerLine
	for _, ask := range []struct {
		group string
		ask   func(context.Context) []answerLine
	}{
		{"configuration", g.askConfig}, {"state folder", g.askState}, {"last good boot", g.askBaseline}, {"this machine", g.askClock}, {"gate", g.askGate},
		{"units", g.askUnits}, {"units", g.askFailed}, {"units", g.askHeldUnits}, {"units", g.askCycles}, {"units", g.askGreenboot},
		{"contract", g.askContract}, {"boot loader and rollback", g.askLoader}, {"boot loader and rollback", g.askPolicy}, {"who is told", g.askNotify},
	} {
		for _, l := range ask.ask(ctx) {
			l.Group = ask.group
			l.Detail = strings.Join(strings.FieldsFunc(l.Detail, func(r rune) bool { return r == '\n' }), "; ")
			lines = append(lines, l)
		}
	}
	return lines
}

func doctorStatus(lines []answerLine) int {
	status := exitOK
	for _, l := range lines {
		switch {
		case l.Wanted && l.Answer == gate.No:
			return exitRegressed
		case l.Wanted && l.Answer == gate.Unknown:
			status = exitIncomplete
		}
	}
	return status
}

// answerRows are the answers as the report shows them.
func answerRows(lines []answerLine) []report.AnswerRow {
	var rows []report.AnswerRow
	for _, l := range lines {
		rows = append(rows, report.AnswerRow{Group: l.Group, Question: l.Question, Answer: string(l.Answer), Wanted: l.Wanted, Detail: l.Detail, Hint: l.Hint})
	}
	return rows
}

// told is an answer by an error: what is not there is a no, and what could not be read is
// no answer.
func told(question string, there bool, err error, hint string) answerLine {
	l := answerLine{Question: question, Answer: gate.No, Wanted: true, Hint: hint}
	switch {
	case err != nil:
		l.Answer, l.Detail = gate.Unknown, err.Error()
	case there:
		l.Answer = gate.Yes
	}
	return l
}

// unwanted is an answer whose no is as good as its yes.
func unwanted(l answerLine) answerLine {
	l.Wanted = false
	return l
}

func (g *gateRun) anyOf(ctx context.Context, names ...string) (bool, error) {
	var errs []error
	for _, n := range names {
		there, err := g.s.root.Exists(ctx, n)
		if there {
			return true, nil
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}
