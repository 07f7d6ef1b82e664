package cli

import (
	"errors"
	"strings"
)

// say prints an error, each once in a run: what cannot be written is tried for every message.
func (g *gateRun) say(err error) {
	for _, e := range parts(err) {
		if g.said[e.Error()] {
			continue
		}
		g.heard(e)
		printError(g.s.env.Err, e)
	}
}

// heard marks an error as one that was told.
func (g *gateRun) heard(err error) {
	if g.said == nil {
		g.said = map[string]bool{}
	}
	for _, e := range parts(err) {
		g.said[e.Error()] = true
	}
}

// parts are the errors that were joined.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) // and not errors.As: a join that is wrapped is one error
	switch {
	case err == nil:
		return nil
	case !ok || err.Error() != errors.Join(joined.Unwrap()...).Error(): // fmt.Errorf with two %w
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, parts(e)...)
	}
	return out
}

// flat is an error of several lines on one.
func flat(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// mayJudge refuses a user who can neither remember nor hold anything: what fails for that is no fault of lastgood's, and
// nobody is to be woken by whoever types the command.
func (g *gateRun) mayJudge() error {
	if !g.live {
		return nil // of a recorded host, or a trial run
	}
	return g.mayDecide()
}
