package probes

import (
	"slices"
	"testing"
)

// TestPlainAnswersAsAlone: asking many helpers with one load gives what asking each
// of them with its own gives, the kernel's line included.
func TestPlainAnswersAsAlone(t *testing.T) {
	needCensus(t)
	c := newCensor(defaultBTF)
	answers := 0
	for _, p := range progTypes {
		try, told := p.prepare(c)
		if errno, _ := c.trier().Prog(try); p.noHelpers || told.line != "" || errno != 0 {
			continue
		}
		b := newBurst(try, c.callHelper, c.logLevel())
		for id, got := range c.askPlain(try) {
			errno, log := b.call(id)
			if want := answerHelper(errno, log, id); got != want {
				t.Errorf("%s %s: %v together, %v alone", p.name, helperName(id), got, want)
			}
			answers++
		}
		b.close()
	}
	if answers < 20*len(plainHelpers) {
		t.Errorf("only %d answers were had together", answers)
	}
}

// TestPlainHelpersAreKnown: a name that the table of helpers does not have would
// never be asked.
func TestPlainHelpersAreKnown(t *testing.T) {
	for _, name := range plainHelpers {
		if !slices.Contains(helperNames[:], name) || slices.Contains(notAsked, name) {
			t.Errorf("%s is no helper that may be asked", name)
		}
	}
}
