package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/boot"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// found are the codes of a report's findings.
func found(rep *report.Report) (codes []string) {
	for _, f := range rep.Findings {
		codes = append(codes, f.Code)
	}
	return codes
}

// crash makes the tree that of a new boot after one that left no record of a shutdown.
func (h *twoKernels) crash(id, release string) {
	h.t.Helper()
	before := len(h.wtmp)
	h.boot(id, release)
	if before == 0 {
		h.t.Fatal("there was no boot before")
	}
	const record = 384
	h.wtmp = slices.Delete(h.wtmp, before, before+record)
	h.write("/var/log/wtmp", string(h.wtmp))
}

func (h *twoKernels) remove(name string) {
	h.t.Helper()
	if err := os.RemoveAll(filepath.Join(h.tree, name)); err != nil {
		h.t.Fatal(err)
	}
}

// TestWhatHappenedToTheHost: what became of the boot before, of the running kernel and of the next boot is told, and fails no boot
// by itself.
func TestWhatHappenedToTheHost(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(*twoKernels)
		crashed bool
		code    string
		told    []string // in the table
	}{
		"all as it was": {spoil: func(*twoKernels) {}, told: []string{"as intended"}},
		"modules of the running kernel gone": {spoil: func(h *twoKernels) { h.remove("/usr/lib/modules/" + bootedNew) },
			code: "running-modules-gone", told: []string{"the modules of the running kernel " + bootedNew + " are gone"}},
		"next boot has no initramfs, for /boot was full": {spoil: func(h *twoKernels) { h.write("/boot/initrd.img-"+bootedNew, "") },
			code: "next-boot-fails", told: []string{"the next boot will fail", "initrd.img-" + bootedNew}},
		"next boot has no image, for /boot was full": {spoil: func(h *twoKernels) { h.write("/boot/vmlinuz-"+bootedNew, "") },
			code: "next-boot-fails", told: []string{"vmlinuz-" + bootedNew}},
		"no shutdown record": {spoil: func(*twoKernels) {}, crashed: true,
			code: "previous-boot-no-shutdown", told: []string{"no shutdown record: crash, power or watchdog"}},
		"a watchdog": {spoil: func(h *twoKernels) {
			h.write("/sys/class/watchdog/watchdog0/bootstatus", "32\n")
			h.write("/sys/class/watchdog/watchdog0/identity", "iTCO_wdt\n")
		}, crashed: true, code: "watchdog-reset", told: []string{"iTCO_wdt: reset by the watchdog"}},
		"a panic": {spoil: func(h *twoKernels) { h.write("/sys/fs/pstore/dmesg-efi-1", "Panic#1") }, crashed: true,
			code: "panic-recorded", told: []string{"a panic was recorded since the last good boot: /sys/fs/pstore/dmesg-efi-1"}},
		"corrupt grubenv": {spoil: func(h *twoKernels) {
			h.write("/boot/grub/grub.cfg", strings.Replace(grubOfTwo, `set default="0"`, "load_env\nset default=\"${saved_entry}\"", 1))
			h.write("/boot/grub/grubenv", "# GRUB Environment Bl")
		}, told: []string{"environment block that could not be read"}},
		"history database that cannot be read": {spoil: func(h *twoKernels) { h.write("/var/lib/dnf/history.sqlite", "SQLite format 3") },
			told: []string{"/var/lib/dnf/history.sqlite"}},
		"history that is no text": {spoil: func(h *twoKernels) { h.write("/var/log/apt/history.log", "\x00\xff\xfe no log") }, told: []string{"do not go back"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTwoKernels(t)
			h.boot("00000000-0000-4000-8000-000000000000", bootedNew)
			h.boot(firstBoot, bootedNew)
			h.learn()
			usual, _ := h.check()
			h.boot(secondBoot, bootedNew)
			if c.crashed {
				h.crash(thirdBoot, bootedNew)
			}
			c.spoil(h)
			status, rep := h.check()
			codes := found(rep)
			if c.code != "" && !slices.Contains(codes, c.code) {
				t.Errorf("found %q, want %s", codes, c.code)
			}
			if status != usual || rep.Verdict == snapshot.Regressed || rep.Verdict == snapshot.Invalid || rep.Boot == nil || rep.Boot.Class == string(boot.FellBack) {
				t.Errorf("status %d, want %d as before; %s: %s", status, usual, rep.Verdict, rep.Summary)
			}
			_, table := h.run("check", "-v")
			for _, want := range c.told {
				if !strings.Contains(table, want) {
					t.Errorf("the table lacks %q:\n%s", want, table)
				}
			}
		})
	}
}
