package contract

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const clockKind = "time.sync"

var _ = catalogue.Add(source.Source{
	Name:  "clock",
	Doc:   "whether the clock is held by a time server, and what the kernel counts time by",
	Kinds: []snapshot.Kind{clockDeclared},
	Tier:  source.Native,
	Read:  readClock,
})

var clockDeclared = snapshot.Kind{
	Name: clockKind,
	Doc:  "the host's clock.",
	Attrs: []snapshot.Attr{
		{Name: "synchronized", Doc: "yes where a time service says so to the kernel, as timedatectl reads it"},
		{Name: "clocksource", Doc: "what the kernel counts time by: tsc, kvm-clock, hpet, acpi_pm …"},
	},
	Rules: []snapshot.Rule{
		{Code: "clock-not-synchronized", On: snapshot.OnBecomes, Attr: "synchronized", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "the clock is not held by a time server, was", Hint: "which server, and does it answer: chronyc tracking, or timedatectl timesync-status"},
		{Code: "clocksource-changed", On: snapshot.OnBecomes, Attr: "clocksource", From: []string{"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}, To: []string{"hpet", "acpi_pm", "jiffies", "refined-jiffies"},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel, Message: "the kernel counts time by {new}, by {old} before: slower and less exact", Hint: "the kernel found the faster one unstable: journalctl -k -b | grep -i clocksource"},
		{Code: "clocksource-other", On: snapshot.OnChanged, Attr: "clocksource", Severity: snapshot.Info, Class: snapshot.ClassKernel, Message: "the kernel counts time by {new}, by {old} before"},
	},
}

// maxClockError is the largest error, in microseconds, with which systemd-timedated calls the clock synchronised (ntp_synced
// of systemd's src/basic/time-util.c): the kernel lets it grow where nobody holds the clock.
const maxClockError = 16_000_000

// clockSettling is how long after a boot a clock that nobody holds yet is not told: ntpd looks at its servers for minutes before it
// trusts them.
const clockSettling = 10 * time.Minute

// setSynchronized says yes, no, or that it is too early for a no.
func setSynchronized(s *snapshot.Subject, held bool, early string) {
	if !held && early != "" {
		s.Fail("synchronized", errors.New("not yet; "+early))
		return
	}
	s.Set("synchronized", yesNo(held))
}

func readClock(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	s := snapshot.Subject{Kind: clockKind, ID: "clock", Outcome: snapshot.Measured}
	source, err := h.Root.Attr(ctx, "/sys/devices/system/clocksource/clocksource0/current_clocksource")
	switch {
	case err == nil:
		s.Set("clocksource", snapshot.Text(source))
	case !sysfs.Absent(err):
		s.Fail("clocksource", err)
	}
	if !h.Root.Live() {
		s.Fail("synchronized", errNotLive)
		return []snapshot.Subject{s}, nil
	}
	var t unix.Timex // modes 0 asks and sets nothing
	if _, err := unix.Adjtimex(&t); err != nil {
		s.Fail("synchronized", fmt.Errorf("adjtimex: %w", err))
	} else {
		setSynchronized(&s, t.Maxerror < maxClockError, upSince(ctx, h, clockSettling))
	}
	return []snapshot.Subject{s}, nil
}
