package vm

import (
	"strings"
)

// Outcome is how a VM ended. Only Done says anything about the kernel as a place
// to run programs; the others are could-not-tell, with the console's tail.
type Outcome string

const (
	Done        Outcome = "done"          // the guest said all that it had to say
	Refused     Outcome = "refused"       // the guest ran and says why it did not do the job
	Panicked    Outcome = "panic"         // the kernel panicked
	Oopsed      Outcome = "oops"          // the kernel oopsed and the guest never finished
	Rebooted    Outcome = "early reboot"  // the machine switched itself off, with no word of a panic
	Hung        Outcome = "hang"          // nothing was heard within the time
	TimedOut    Outcome = "out of time"   // it was at work when its time was over
	Truncated   Outcome = "truncated"     // the answer ends inside a frame, or without its end
	Garbled     Outcome = "garbled"       // the answer is no answer
	Overflowed  Outcome = "overflow"      // it wrote more than is believable
	DidNotStart Outcome = "did not start" // QEMU refused
	Interrupted Outcome = "interrupted"   // lastgood was told to stop
)

// panicMarks and oopsMarks are what a kernel writes in its distress: panic() in
// kernel/panic.c, die() and show_fault_oops() in arch/x86.
var (
	panicMarks = []string{"Kernel panic - not syncing", "end Kernel panic"}
	oopsMarks  = []string{"Oops: ", "BUG: unable to handle", "BUG: kernel NULL pointer", "general protection fault", "kernel BUG at ", "PANIC: double fault"}
)

// distress finds the first line of the console that tells of a panic or an oops.
func distress(console string) (line string, panicked bool) {
	for l := range strings.Lines(console) {
		l = strings.TrimSpace(l)
		for _, m := range panicMarks {
			if strings.Contains(l, m) {
				return l, true
			}
		}
		for _, m := range oopsMarks {
			if line == "" && strings.Contains(l, m) {
				line = l
			}
		}
	}
	return line, false
}

// end is what is known when a VM is over and the guest did not say that it was done.
type end struct {
	console  string
	said     bool  // the guest said hello
	partial  bool  // its answer ends inside a frame
	garbage  error // its answer is no answer
	overflow bool
	timeout  bool // it was stopped at the end of its time
	exit     error
	stderr   string
}

// outcome tells the ways to fail apart, and gives the line that says it best.
func (e *end) outcome() (Outcome, string) {
	line, panicked := distress(e.console)
	last := lastLine(e.console)
	switch {
	case panicked:
		return Panicked, line
	case e.overflow:
		return Overflowed, "the guest wrote more than was to be believed"
	case e.garbage != nil:
		return Garbled, e.garbage.Error()
	case line != "":
		return Oopsed, line
	case e.timeout && e.console == "" && !e.said:
		return Hung, "nothing was ever heard of it"
	case e.timeout && !e.said:
		return Hung, "init was not reached; the last line of the console: " + last
	case e.timeout:
		return TimedOut, "the last line of the console: " + last
	case e.exit != nil && e.console == "" && !e.said:
		return DidNotStart, firstOf(lastLine(e.stderr), e.exit.Error())
	case e.said || e.partial:
		return Truncated, "its answer has no end; the last line of the console: " + last
	}
	return Rebooted, "it switched itself off before init said hello; the last line of the console: " + last
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

// tailLines is the end of a console, for a report.
func tailLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
