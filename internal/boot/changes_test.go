package boot

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

const dnfList = `ID     | Command line             | Date and time    | Action(s)      | Altered
-------------------------------------------------------------------------------
    12 | upgrade -y               | 2026-10-03 06:31 | I, U           |    3 EE
    11 |                          | 2026-09-01 04:00 | Install        |    1
`

const dnfInfo = `Transaction ID : 12
Begin time     : Sat Oct  3 06:31:40 2026
Begin rpmdb    : 4f7b
End time       : Sat Oct  3 06:33:02 2026 (82 seconds)
End rpmdb      : 9ab1
User           : Alice Example <alice>
Return-Code    : Success
Releasever     : 9
Command Line   : upgrade -y
Comment        : 
Packages Altered:
    Install  kernel-core-5.14.0-611.34.1.el9_7.x86_64 @baseos
    Upgrade  linux-firmware-20250812-155.el9.noarch   @baseos
    Upgraded linux-firmware-20250212-150.el9.noarch   @@System
    Upgrade  vim-minimal-2:8.2.2637-22.el9.x86_64     @baseos
 ** Removed  kernel-core-5.14.0-503.11.1.el9_5.x86_64 @@System
Scriptlet output:
   1 dracut: warning
-------------------------------------------------------------------------------
Transaction ID : 11
Begin time     : Tue Sep  1 04:00:00 2026
User           : System <unset>
Return-Code    : Failure: 1
Command Line   : /usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer
Packages Altered:
    Install htop-3.3.0-1.el9.x86_64 @epel
`

func logOf(t *testing.T, logs []Log, manager string) Log {
	t.Helper()
	for _, l := range logs {
		if l.Manager == manager {
			if l.Err != nil {
				t.Fatal(l.Err)
			}
			return l
		}
	}
	t.Fatalf("no log of %s in %v", manager, logs)
	return Log{}
}

func diffTransactions(t *testing.T, want, got []Transaction) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Transaction{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAptAndDpkg(t *testing.T) {
	logs := ReadLogs(context.Background(), readHost(t, "since-debian").root(), answers(nil))
	apt := logOf(t, logs, "apt")
	diffTransactions(t, []Transaction{
		{Manager: "apt", Time: "2026-09-01 06:11:02", Command: "apt-get install -y nginx", User: "alice (1000)", Others: 2},
		{Manager: "apt", Time: "2026-10-03 06:31:40", Command: "/usr/bin/unattended-upgrade", Auto: true,
			Packages: []PackageChange{{"linux-image-6.1.0-41-amd64", "install", "", "6.1.158-1"}, {"linux-image-amd64", "upgrade", "6.1.153-1", "6.1.158-1"}}},
		{Manager: "apt", Time: "2026-10-20 06:20:00", Command: "/usr/bin/unattended-upgrade", Auto: true, Others: 1},
		{Manager: "apt", Time: "2026-11-02 10:00:01", Command: "apt install firmware-misc-nonfree containerd.io=1.7.28-1", User: "bob (1001)", Failed: true,
			Packages: []PackageChange{{"firmware-misc-nonfree", "upgrade", "20230210-5", "20250410-2~bpo12+1"}, {"containerd.io", "upgrade", "1.7.27-1", "1.7.28-1"}, {"linux-image-6.1.0-38-amd64", "remove", "6.1.147-1", ""}}},
	}, apt.Transactions)
	// What apt told is not told again, and what dpkg did by itself is.
	diffTransactions(t, []Transaction{
		{Manager: "dpkg", Time: "2026-11-02 10:00:05"},
		{Manager: "dpkg", Time: "2026-11-02 12:30:00", Packages: []PackageChange{{"nvidia-dkms", "install", "", "550.90"}}},
	}, logOf(t, logs, "dpkg").Transactions)

	// The mark of a boot in September is found behind two rotations; all that came since is told.
	mark := apt.Transactions[0].key
	after, note := apt.Since(mark, true, time.Time{})
	if len(after) != 3 || note != "" {
		t.Errorf("%d transactions, %q", len(after), note)
	}
	if after, note = apt.Since("0123456789abcdef", true, time.Time{}); len(after) != 4 || !strings.Contains(note, "do not go back") {
		t.Errorf("a mark that is gone: %d transactions, %q", len(after), note)
	}
	if after, note = apt.Since("", true, time.Time{}); len(after) != 4 || note != "" {
		t.Errorf("an empty log: %d transactions, %q", len(after), note)
	}
	if after, note = apt.Since("", false, time.Date(2026, 10, 10, 0, 0, 0, 0, time.Local)); len(after) != 2 || !strings.Contains(note, "clock") {
		t.Errorf("no mark: %d transactions, %q", len(after), note)
	}
}

func TestPacmanLog(t *testing.T) {
	logs := ReadLogs(context.Background(), readHost(t, "since-arch").root(), answers(nil))
	diffTransactions(t, []Transaction{
		{Manager: "pacman", Time: "2026-10-01T09:00:02+0200", Command: "pacman -S vim", Others: 1},
		{Manager: "pacman", Time: "2026-10-07T09:00:02+0200", Command: "pacman -Syu",
			Packages: []PackageChange{{"linux", "upgrade", "6.11.1.arch1-1", "6.11.2.arch1-1"}, {"nvidia-dkms", "remove", "550.90-1", ""}}},
	}, logOf(t, logs, "pacman").Transactions)
}

func TestDnf4(t *testing.T) {
	run := answers(map[string]string{"history list": dnfList, "history info 12 11": dnfInfo})
	diffTransactions(t, []Transaction{
		{Manager: "dnf", ID: "11", Time: "Tue Sep 1 04:00:00 2026", Command: "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer", Auto: true, Failed: true, Others: 1},
		{Manager: "dnf", ID: "12", Time: "Sat Oct 3 06:31:40 2026", Command: "upgrade -y", User: "alice", Others: 1, Packages: []PackageChange{
			{"kernel-core", "install", "", "5.14.0-611.34.1.el9_7"}, {"linux-firmware", "upgrade", "20250212-150.el9", "20250812-155.el9"}, {"kernel-core", "remove", "5.14.0-503.11.1.el9_5", ""}}},
	}, logOf(t, ReadLogs(context.Background(), readHost(t, "since-fedora").root(), run), "dnf").Transactions)
	// The database is there, and nobody who could read it.
	logs := ReadLogs(context.Background(), readHost(t, "since-fedora").root(), answers(nil))
	if len(logs) != 1 || logs[0].Err == nil || !strings.Contains(logs[0].Err.Error(), "/var/lib/dnf/history.sqlite") || len(logs[0].Transactions) > 0 {
		t.Errorf("%+v", logs)
	}
	logs = ReadLogs(context.Background(), readHost(t, "since-fedora").root(), answers(map[string]string{"history list": dnfList, "history info": "Error: database is locked"}))
	if len(logs) != 1 || logs[0].Err == nil {
		t.Errorf("an answer that is not understood: %+v", logs)
	}
}

func TestDnf5(t *testing.T) {
	h := newHost().with("/usr/lib/sysimage/libdnf5/transaction_history.sqlite", "SQLite format 3")
	run := answers(map[string]string{"history list --json": `[{"id":3,"command_line":"x"},{"id":2}]`, "history info --json 2 3": `[
 {"id":3,"start_time":1790000000,"user_name":"1000 Alice <alice>","status":"Ok","description":"dnf upgrade","packages":[{"nevra":"kernel-core-6.17.8-300.fc43.x86_64","action":"Install"},{"nevra":"systemd-258-1.fc43.x86_64","action":"Upgrade"},{"nevra":"systemd-257.9-1.fc43.x86_64","action":"Replaced"}]},
 {"id":2,"start_time":0,"user_name":"4294967295","status":"Error","description":"dnf automatic","packages":[]}]`})
	diffTransactions(t, []Transaction{
		{Manager: "dnf", ID: "2", Time: "1970-01-01 00:00:00Z", Command: "dnf automatic", Auto: true, Failed: true},
		{Manager: "dnf", ID: "3", Time: "2026-09-21 14:13:20Z", Command: "dnf upgrade", User: "alice", Packages: []PackageChange{{"kernel-core", "install", "", "6.17.8-300.fc43"}, {"systemd", "upgrade", "257.9-1.fc43", "258-1.fc43"}}},
	}, logOf(t, ReadLogs(context.Background(), h.root(), run), "dnf").Transactions)
}

func TestZypperHistory(t *testing.T) {
	h := newHost().with("/var/log/zypp/history", "# begin\n2026-10-01 12:00:01|command|root@host|'zypper' 'up'|\n2026-10-01 12:00:04|install|kernel-default|6.4.0-150600.23.1|x86_64|root@host|repo|sum|\n2026-10-01 12:00:05|remove |vim|9.1|x86_64|root@host|\n")
	diffTransactions(t, []Transaction{{Manager: "zypper", Time: "2026-10-01 12:00:01", Command: "zypper up", User: "root@host", Others: 1, Packages: []PackageChange{{"kernel-default", "install", "", "6.4.0-150600.23.1"}}}},
		logOf(t, ReadLogs(context.Background(), h.root(), answers(nil)), "zypper").Transactions)
}

func TestLogsThatCannotBeRead(t *testing.T) {
	h := newHost().with("/var/log/apt/history.log", "x").fail("/var/log/apt/history.log", unix.EIO).with("/var/log/pacman.log", "\x00\xff no log").with("/var/log/dpkg.log.1.gz", "no gzip")
	for _, l := range ReadLogs(context.Background(), h.root(), answers(nil)) {
		if l.Manager != "pacman" && l.Err == nil {
			t.Errorf("%s: no error, %d transactions", l.Manager, len(l.Transactions))
		}
		if s := l.subject(); l.Err != nil && (s.Outcome != snapshot.Inconclusive || s.Reason == "") {
			t.Errorf("%+v", s)
		}
	}
	if logs := ReadLogs(context.Background(), newHost().root(), answers(nil)); len(logs) != 0 {
		t.Errorf("a host without a package manager: %+v", logs)
	}
}

func TestLogsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := 0; b.Len() < maxLogTail+(1<<20); i++ {
		fmt.Fprintf(&b, "Start-Date: 2026-01-02  03:04:05\nCommandline: apt-get install p%d\nInstall: linux-image-%d:amd64 (1-%d)\n\n", i, i, i)
	}
	l := logOf(t, ReadLogs(context.Background(), newHost().with("/var/log/apt/history.log", b.String()).root(), answers(nil)), "apt")
	if l.Whole || len(l.Transactions) != maxTransactions || !strings.HasPrefix(l.Transactions[0].Command, "apt-get install p") {
		t.Errorf("whole %v, %d transactions", l.Whole, len(l.Transactions))
	}
	out, cut, err := tail(strings.NewReader(strings.Repeat("0123456789", 100000)), 25)
	if string(out) != "5678901234567890123456789" || !cut || err != nil {
		t.Errorf("%q %v %v", out, cut, err)
	}
}

func TestTouches(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-41-amd64:amd64": true, "linux": true, "linux-lts": true, "kernel-core": true, "proxmox-kernel-6.8.12-1-pve-signed": true, "intel-microcode": true,
		"zfs-dkms": true, "systemd": true, "grub-efi-amd64": true, "containerd.io": true, "selinux-policy-targeted": true, "linux-firmware": true,
		"linux-libc-dev": false, "linux-headers-6.1.0-41-amd64": false, "vim": false, "linux-doc": false, "libsystemd-dev": false, "kernel-headers": false, "": false,
	} {
		if Touches(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestComponents(t *testing.T) {
	h := readHost(t, "since-debian").with("/boot/initrd.img-6.1.0-41-amd64", "070701").with("/sys/class/dmi/id/bios_version", "2.1\n").
		with("/var/lib/dkms/nvidia/550.90/6.1.0-41-amd64/x86_64/module/nvidia.ko", "x").with("/sys/kernel/livepatch/kpatch_1/enabled", "1\n").
		with("/sys/fs/selinux/enforce", "1").with("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n").with("/etc/selinux/targeted/policy/policy.33", "policy").
		with("/var/lib/dpkg/status", "Package: systemd\nStatus: install ok installed\nVersion: 252.38-1\n\nPackage: vim\nStatus: install ok installed\nVersion: 9\n\nPackage: grub-pc\nStatus: install ok installed\nVersion: 2.06-13\n").
		fail("/sys/class/dmi/id/bios_date", unix.EIO)
	subjects, err := readComponents(context.Background(), h.root(), answers(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range subjects {
		got[s.ID] = s.Attrs["version"].String() + s.Text("path") + s.Reason
	}
	want := map[string]string{
		"systemd": "systemd 252.38-1", "loader_packages": "grub-pc 2.06-13", "firmware": "-read /sys/class/dmi/id/bios_date: input/output error",
		"initramfs": "-/boot/initrd.img-6.1.0-41-amd64", "selinux_policy": "-/etc/selinux/targeted/policy/policy.33", "dkms_modules": "nvidia 550.90", "livepatch": "kpatch_1 enabled",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	rpm, err := installedPackages(context.Background(), readHost(t, "since-fedora").root(), answers(map[string]string{"rpm --query": "kernel-core 5.14.0-2\nkernel-core 5.14.0-1\nvim 9\nsystemd 252-55\n"}))
	if d := cmp.Diff(map[string]string{"kernel-core": "5.14.0-1, 5.14.0-2", "systemd": "252-55"}, rpm); d != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, d)
	}
}

// TestTruthOfAHostThatHasNothing: every source answers on an empty host, and calls nothing an answer
// that is none.
func TestTruthOfAHostThatHasNothing(t *testing.T) {
	for _, sick := range []bool{false, true} {
		h := newHost()
		if sick {
			for _, name := range []string{"/proc/sys/kernel/osrelease", "/boot/grub/grub.cfg", "/var/log/wtmp", "/var/log/apt", "/var/lib/dpkg/status", "/run/reboot-required", "/var/log/", "/sys/kernel/livepatch"} {
				h.fail(name, unix.EIO)
			}
		}
		prior := Prior{Run: answers(nil), Intent: func() (*Intent, error) { return nil, fs.ErrPermission }}
		for _, src := range Truth(prior) {
			subjects, err := src.Read(context.Background(), source.Host{Root: h.root(), Now: time.Now})
			for _, s := range subjects {
				if s.Kind == OutcomeKind && s.Attrs["class"].String() != "-" {
					t.Errorf("sick %v: class %v", sick, s.Attrs["class"])
				}
				if !slices.ContainsFunc(src.Kinds, func(k snapshot.Kind) bool { return k.Name == s.Kind }) {
					t.Errorf("%s gave a %s", src.Name, s.Kind)
				}
			}
			if sick && src.Name == "boot_entries" && err == nil {
				t.Error("an unreadable grub.cfg gave no error")
			}
		}
	}
}

func fuzzLog(f *testing.F, parse func(string) []Transaction, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tr := range parse(s) {
			if tr.Manager == "" || tr.key == "" && tr.Manager != "dnf" || strings.ContainsAny(tr.Command+tr.User+tr.Time, "\n\r") || len(tr.Packages) > maxChanges {
				t.Errorf("%+v", tr)
			}
			for _, p := range tr.Packages {
				if !Touches(p.Name) || p.Action == "" {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}

func FuzzParseAptHistory(f *testing.F) {
	fuzzLog(f, parseAptHistory, "Start-Date: 2026-10-03  06:31:40\nCommandline: x\nInstall: linux-image-1:amd64 (1, automatic), a (\nUpgrade: systemd:amd64 (1, 2)\nEnd-Date: x\n")
}

func FuzzParseDpkgLog(f *testing.F) {
	fuzzLog(f, parseDpkgLog, "2026-11-02 12:30:00 startup archives install\n2026-11-02 12:30:00 install systemd:amd64 <none> 2\n2026-11-02 12:30:00 purge systemd:amd64 2 <none>\n")
}

func FuzzParsePacmanLog(f *testing.F) {
	fuzzLog(f, parsePacmanLog, "[2026-10-07 09:00] [PACMAN] Running 'pacman -Syu'\n[2026-10-07T09:00:02+0200] [ALPM] upgraded linux (1 -> 2)\n[x] [ALPM] transaction completed\n")
}

func FuzzParseZypperHistory(f *testing.F) {
	fuzzLog(f, parseZypperHistory, "2026-10-01 12:00:01|command|root@host|'zypper' 'up'|\n2026-10-01 12:00:04|install|kernel-default|6.4|x86_64|root@host|repo|sum|\n")
}

func FuzzParseDnfInfo(f *testing.F) { fuzzLog(f, parseDnfInfo, dnfInfo) }

func FuzzParseDnf5Info(f *testing.F) {
	fuzzLog(f, func(s string) []Transaction { all, _ := parseDnf5Info([]byte(s)); return all }, `[{"id":3,"description":"dnf upgrade","packages":[{"nevra":"systemd-258-1.fc43.x86_64","action":"Upgrade"}]}]`)
}

func FuzzParseLists(f *testing.F) {
	f.Add(dnfList, `[{"id":3}]`, "systemd 252\n")
	f.Fuzz(func(t *testing.T, table, list, rpm string) {
		for _, id := range parseDnfList(table) {
			if !isNumber(id) {
				t.Errorf("%q", id)
			}
		}
		ids, _ := parseDnf5List([]byte(list))
		if !slices.IsSorted(ids) {
			t.Errorf("%v", ids)
		}
		for name := range parseRPMList(rpm) {
			if !Touches(name) {
				t.Errorf("%q", name)
			}
		}
	})
}
