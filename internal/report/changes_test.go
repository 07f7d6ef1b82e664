package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"lastgood/internal/snapshot"
)

// fellBack is a boot of which the loader chose another kernel.
func fellBack() *Report {
	r := &Report{Verdict: snapshot.Invalid, Summary: "this is not what was to be compared: the loader was to boot 6.1.0-41, and 6.1.0-40 runs", Current: identity("6.1.0-40", "aabbccddeeff0011"), Baseline: identity("6.1.0-40", "aabbccddeeff0011"),
		Boot: &Boot{Class: "fell back", Intended: "6.1.0-41", Running: "6.1.0-40", Basis: "intent", Why: "the loader was set to boot 6.1.0-41 (saved), and 6.1.0-40 runs; in between ran 6.1.0-41 for 40 s, no shutdown record"},
		Since: &Since{
			Facts:     []SinceFact{{"initramfs", "/boot/initrd.img-6.1.0-40 0123456789ab", "/boot/initrd.img-6.1.0-40 ba9876543210"}, {"livepatch", "kpatch_1 enabled", ""}},
			Unrelated: 3, Reboot: Reboot{Ended: "clean", How: "reboot", By: []string{"alice, by sudo: /usr/bin/systemctl reboot"}}, Notes: []string{"dnf: what it did could not be told: run dnf: program is not installed"},
			Transactions: []Transaction{
				{Manager: "apt", Time: "2026-10-03 06:31:40", Command: "/usr/bin/unattended-upgrade", Automatic: true, Packages: []PackageChange{{"linux-image-6.1.0-41", "install", "", "6.1.158-1"}}},
				{Manager: "dnf", ID: "12", Time: "2026-11-02", User: "bob\x1b[2J|<b>", Command: "upgrade `x`", Failed: true, Others: 7, Packages: []PackageChange{{"systemd", "upgrade", "1", "2"}, {"nvidia-dkms", "remove", "550", ""}}},
				{Manager: "pacman", Time: "2026-11-03", Command: "pacman -Syu"},
			}}}
	for i := range 9 {
		r.Since.Transactions[2].Packages = append(r.Since.Transactions[2].Packages, PackageChange{fmt.Sprintf("linux%d", i), "upgrade", "1", "2"})
	}
	return r
}

func TestSince(t *testing.T) {
	r := fellBack()
	for _, format := range []string{"table", "markdown"} {
		var b bytes.Buffer
		if err := Write(&b, format, r, Options{}); err != nil {
			t.Fatal(err)
		}
		golden(t, "since."+format, b.Bytes())
		checkLines(t, format, b.String())
	}
	var b bytes.Buffer
	if err := Write(&b, "table", r, Options{Verbose: true}); err != nil || !strings.Contains(b.String(), "linux8 1 → 2") {
		t.Errorf("-v leaves packages out: %v\n%s", err, b.String())
	}
}

func TestSinceIsSilentWhereNothingChanged(t *testing.T) {
	r := fellBack()
	r.Boot.Class, r.Since = "as intended", &Since{Reboot: Reboot{Ended: "clean"}}
	var b bytes.Buffer
	if err := Write(&b, "table", r, Options{}); err != nil || strings.Contains(b.String(), sinceTitle) || strings.Contains(b.String(), "boot:   ") {
		t.Errorf("%v\n%s", err, b.String())
	}
	for _, c := range []struct {
		reboot Reboot
		want   string
	}{
		{Reboot{Ended: "no record"}, "no shutdown record: crash, power or watchdog"},
		{Reboot{Why: "no journal"}, "could not be told: no journal"},
		{Reboot{Ended: "clean"}, "in order, by somebody that the logs do not name"},
	} {
		if got := c.reboot.told(); got != c.want {
			t.Errorf("%+v: %s", c.reboot, got)
		}
	}
}
