package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// answers is a Runner that knows the answers by a part of the command line.
func answers(m map[string]string) Runner {
	return func(_ context.Context, max int, name string, args ...string) ([]byte, error) {
		line := name + " " + strings.Join(args, " ")
		for part, out := range m {
			if strings.Contains(line, part) {
				if len(out) > max {
					return []byte(out[:max]), fmt.Errorf("run %s: %w", name, ErrCut)
				}
				return []byte(out), nil
			}
		}
		return nil, fmt.Errorf("run %s: %w", name, ErrNoProgram)
	}
}

// rec is one line of journalctl's JSON.
func rec(boot string, sequence, micros int, identifier, message string) string {
	return fmt.Sprintf(`{"__CURSOR":"s=5e1;i=%x;b=%s;m=%x;t=0;x=1","SYSLOG_IDENTIFIER":%q,"MESSAGE":%q}`+"\n", sequence, plainID(boot), micros, identifier, message)
}

const banner40 = "Linux version 6.1.0-40-amd64 (a@b) (gcc) #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)"

// twoBoots is a journal with a boot of 40 s that crashed behind one that was rebooted by hand, on a
// host whose clock begins anew each time: the list has them in the wrong order.
func twoBoots() map[string]string {
	a, b := plainID(bootA), plainID(bootB)
	return map[string]string{
		"--list-boots": `[{"index":-2,"boot_id":"` + b + `","first_entry":1,"last_entry":40000000},{"index":-1,"boot_id":"` + a + `","first_entry":2,"last_entry":9},{"index":0,"boot_id":"` + plainID(bootC) + `"}]`,
		a + " --dmesg": rec(bootA, 1, 0, "kernel", banner40),
		a + " --lines": rec(bootA, 90, 86000e6, "sudo", "   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/systemctl reboot") +
			rec(bootA, 91, 86001e6, "systemd-logind", "The system will reboot now!") + rec(bootA, 92, 86002e6, "systemd", "Reached target reboot.target - System Reboot.") + rec(bootA, 93, 86003e6, "systemd-journald", "Journal stopped"),
		b + " --dmesg": rec(bootB, 100, 0, "kernel", "Booting Linux on physical CPU 0x0") + rec(bootB, 101, 0, "kernel", strings.ReplaceAll(banner40, "-40-", "-41-")),
		b + " --lines": rec(bootB, 140, 40e6, "kernel", "mce: hardware error"),
	}
}

func TestJournalBoots(t *testing.T) {
	got, err := journalBoots(context.Background(), answers(twoBoots()), bootC)
	if err != nil {
		t.Fatal(err)
	}
	want := []Past{
		{ID: plainID(bootA), Release: oldKernel, Seconds: 86003, Ended: EndClean, How: "reboot", By: []string{"alice, by sudo: /usr/bin/systemctl reboot"}},
		{ID: plainID(bootB), Release: newKernel, Seconds: 40, Ended: EndNone},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Past{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestBootsOf1970AreNotForgotten: of a journal with many boots the newest are looked into, where their clock was never set too.
func TestBootsOf1970AreNotForgotten(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%032x", n) }
	m := map[string]string{}
	var list []string
	add := func(n, sequence int, first int64) {
		list = append(list, fmt.Sprintf(`{"boot_id":"%s","first_entry":%d}`, id(n), first))
		m[id(n)+" --lines"] = rec(id(n), sequence, 40e6, "kernel", "x")
	}
	for n := range 20 { // the newest twenty boots had no clock
		add(100+n, 1000+n, int64(n))
	}
	for n := range 20 {
		add(200+n, 10+n, 1_700_000_000_000_000+int64(n))
	}
	m["--list-boots"] = "[" + strings.Join(list, ",") + "]"
	got, err := journalBoots(context.Background(), answers(m), bootC)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, p := range got {
		have = append(have, p.ID)
	}
	if d := cmp.Diff([]string{id(114), id(115), id(116), id(117), id(118), id(119)}, have); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestJournalThatCannotTell(t *testing.T) {
	for name, c := range map[string]struct {
		run  Runner
		want string
	}{
		"no journalctl": {answers(nil), "not installed"},
		"no boots":      {answers(map[string]string{"--list-boots": ""}), "volatile"},
		"this boot only": {answers(map[string]string{"--list-boots": "-0 " + plainID(bootC) + " Thu 1970-01-01 00:00:02 UTC—Thu 1970-01-01 00:00:09 UTC\n"}),
			"no boot but this one"},
		"nonsense": {answers(map[string]string{"--list-boots": "Failed to open journal"}), "names no boot"},
	} {
		boots, err := journalBoots(context.Background(), c.run, bootC)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(boots) > 0 {
			t.Errorf("%s: %v, %v", name, boots, err)
		}
	}
}

func TestJournalRestartIsNoShutdown(t *testing.T) {
	var p Past
	text := rec(bootA, 1, 1e6, "systemd-journald", "Journal stopped")
	for i := range 5 {
		text += rec(bootA, 2+i, 2e6, "sshd", "Accepted publickey")
	}
	p.take(parseRecords([]byte(text)))
	if p.Ended != EndNone {
		t.Errorf("a journal that was restarted was taken for a shutdown: %+v", p)
	}
}

func TestSudoEnder(t *testing.T) {
	for message, ends := range map[string]bool{
		"bob : TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/usr/sbin/shutdown -r now":       true,
		"bob : TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/systemctl restart sshd": false,
		"bob : TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/vi /etc/reboot":         false,
		"pam_unix(sudo:session): session opened for user root":                          false,
	} {
		if got := sudoEnder(message) != ""; got != ends {
			t.Errorf("%q: %v", message, got)
		}
	}
}

// utmp is one record in a layout.
func utmp(l wtmpLayout, kind uint16, user, host string) []byte {
	b := make([]byte, l.size)
	binary.NativeEndian.PutUint16(b, kind)
	copy(b[8:], "~")
	copy(b[44:], user)
	copy(b[76:], host)
	b[l.seconds] = 7 // 1970: the clock is of no consequence
	return b
}

func TestWtmp(t *testing.T) {
	for _, l := range wtmpLayouts {
		log := append(utmp(l, utBootTime, "reboot", oldKernel), utmp(l, 7, "alice", "10.0.0.1")...)
		log = append(log, utmp(l, utRunLevel, "shutdown", oldKernel)...)
		log = append(log, utmp(l, utBootTime, "reboot", newKernel)...)
		log = append(log, utmp(l, utBootTime, "reboot", oldKernel)...)
		log = append(log, 1, 2, 3) // cut off by a power cut
		h := ReadHistory(context.Background(), newHost().with("/var/log/wtmp", string(log)).root(), answers(nil), bootC)
		want := []Past{{Release: oldKernel, Ended: EndClean, By: []string{"wtmp: shutdown"}}, {Release: newKernel, Ended: EndNone}}
		if d := cmp.Diff(want, h.Boots, cmpopts.IgnoreUnexported(Past{})); d != "" || h.Records != 3 {
			t.Errorf("%d bytes a record, %d boots (-want +got)\n%s", l.size, h.Records, d)
		}
	}
	for name, log := range map[string]string{"empty": "", "text": strings.Repeat("no log at all ", 200)} {
		h := ReadHistory(context.Background(), newHost().with("/var/log/wtmp", log).root(), answers(nil), bootC)
		if h.Records != -1 || len(h.Gaps) != 2 {
			t.Errorf("%s: %d records, %q", name, h.Records, h.Gaps)
		}
	}
}

func TestWtmpTellsOfAShutdownThatTheJournalLacks(t *testing.T) {
	l := wtmpLayouts[0]
	journal := twoBoots()
	log := append(utmp(l, utBootTime, "reboot", newKernel), utmp(l, utRunLevel, "shutdown", newKernel)...)
	log = append(log, utmp(l, utBootTime, "reboot", oldKernel)...)
	h := ReadHistory(context.Background(), newHost().with("/var/log/wtmp", string(log)).root(), answers(journal), bootC)
	if p := h.Previous(); p == nil || p.Ended != EndClean || p.ID != plainID(bootB) {
		t.Errorf("%+v", p)
	}
}

func TestCrashRecords(t *testing.T) {
	h := newHost().with("/sys/fs/pstore/dmesg-efi-1", "x").with("/sys/fs/pstore/console-ramoops-0", "x").with("/var/lib/systemd/pstore/176/dmesg.txt", "x").
		with("/sys/class/watchdog/watchdog0/bootstatus", "32\n").with("/sys/class/watchdog/watchdog0/identity", "iTCO_wdt\n").with("/sys/class/watchdog/watchdog1/bootstatus", "0\n")
	got := ReadHistory(context.Background(), h.root(), answers(nil), bootC)
	if d := cmp.Diff([]string{"/sys/fs/pstore/dmesg-efi-1", "/var/lib/systemd/pstore/176"}, got.Crashes); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"iTCO_wdt: reset by the watchdog"}, got.Watchdogs); d != "" {
		t.Error(d)
	}
	sick := newHost().fail("/sys/fs/pstore", unix.EIO).fail("/sys/class/watchdog", unix.EACCES)
	if got := ReadHistory(context.Background(), sick.root(), answers(nil), bootC); len(got.Gaps) != 4 {
		t.Errorf("unreadable folders: %q", got.Gaps)
	}
}

func TestRunnerIsBounded(t *testing.T) {
	run := HostRunner(sysfs.Live())
	out, err := run(context.Background(), 1000, "yes")
	if !errors.Is(err, ErrCut) || len(out) != 1000 {
		t.Errorf("a program without end: %d bytes, %v", len(out), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := run(ctx, 10, "sleep", "60"); err == nil {
		t.Error("a program was run although nobody waits for it")
	}
	if _, err := run(context.Background(), 10, "no-such-program-here"); !errors.Is(err, ErrNoProgram) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := run(context.Background(), 10, "false"); err == nil {
		t.Error("a program that failed gave no error")
	}
	if _, err := HostRunner(newHost().root())(context.Background(), 10, "true"); !errors.Is(err, ErrNoProgram) {
		t.Errorf("a recorded host ran a program: %v", err)
	}
}

func FuzzParseBootList(f *testing.F) {
	f.Add([]byte(`[{"#":"-1","boot_id":"` + plainID(bootA) + `"}]`))
	f.Add([]byte("-1 " + plainID(bootA) + " Sun 2017-03-05 12:29:39 PST—Thu 2017-03-09 15:30:39 PST\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, _ := parseBootList(b)
		for _, id := range ids {
			if !isBootID(id) {
				t.Errorf("%q", id)
			}
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	f.Add([]byte(rec(bootA, 1, 2, "sudo", "a : COMMAND=/sbin/reboot")))
	f.Add([]byte(`{"MESSAGE":[72,300,105],"__CURSOR":"i=zz;m=;s"}` + "\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Past
		p.take(parseRecords(b))
		if p.How != "" && p.Ended != EndClean {
			t.Errorf("%+v", p)
		}
		for _, by := range p.By {
			if strings.Contains(by, "\n") || len(by) > 3*maxSaid {
				t.Errorf("%q", by)
			}
		}
	})
}

func FuzzParseWtmp(f *testing.F) {
	for _, l := range wtmpLayouts {
		f.Add(append(utmp(l, utBootTime, "reboot", oldKernel), utmp(l, utRunLevel, "shutdown", "")...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		log, err := parseWtmp(b)
		if len(log.boots) > len(b)/384 || err != nil && len(log.boots) > 0 {
			t.Errorf("%d boots in %d bytes, %v", len(log.boots), len(b), err)
		}
	})
}
