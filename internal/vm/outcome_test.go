package vm

import (
	"errors"
	"strings"
	"testing"
)

func TestOutcome(t *testing.T) {
	const booted = "[    0.000000] Linux version 6.1.0-56-cloud-amd64\n[    1.2] Key type fscrypt registered\n"
	exit := errors.New("exit status 1")
	for name, c := range map[string]struct {
		e    end
		want Outcome
		why  string
	}{
		"panic": {end{console: booted + "[    2.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200\n[    2.1] CPU: 0 PID: 1\n[    2.2] ---[ end Kernel panic - not syncing: ... ]---\n"},
			Panicked, "Attempted to kill init"},
		"panic after hello":       {end{console: booted + "Kernel panic - not syncing: Fatal exception\n", said: true, partial: true}, Panicked, "Fatal exception"},
		"panic and out of time":   {end{console: "Kernel panic - not syncing: VFS\n", timeout: true}, Panicked, "VFS"},
		"oops, never finished":    {end{console: booted + "[ 3.0] BUG: unable to handle page fault for address: ffff\n[ 3.1] Oops: 0002 [#1]\n", said: true, timeout: true}, Oopsed, "unable to handle page fault"},
		"silence":                 {end{timeout: true}, Hung, "nothing was ever heard"},
		"hung while booting":      {end{console: booted, timeout: true}, Hung, "Key type fscrypt"},
		"out of time at work":     {end{console: booted, said: true, timeout: true}, TimedOut, "Key type"},
		"early reboot":            {end{console: booted}, Rebooted, "before init said hello"},
		"ended before its end":    {end{console: booted, said: true}, Truncated, "no end"},
		"ended inside a frame":    {end{console: booted, said: true, partial: true}, Truncated, "no end"},
		"garbage":                 {end{console: booted, said: true, garbage: ErrGarbage}, Garbled, "garbled"},
		"too much":                {end{console: booted, overflow: true, exit: exit}, Overflowed, "more than"},
		"QEMU refuses":            {end{exit: exit, stderr: "qemu: could not load kernel 'x'\n"}, DidNotStart, "could not load kernel"},
		"QEMU refuses in silence": {end{exit: exit}, DidNotStart, "exit status 1"},
	} {
		got, why := c.e.outcome()
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s: %q, want %s with %q", name, got, why, c.want, c.why)
		}
	}
}

func TestTailLines(t *testing.T) {
	if got := tailLines("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("%q", got)
	}
	if got := tailLines("", 2); got != "" {
		t.Errorf("%q", got)
	}
}
