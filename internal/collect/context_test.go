package collect

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLacks(t *testing.T) {
	for name, test := range map[string]struct{ status, want string }{
		"root":           {"CapEff:\t000001ffffffffff\nSeccomp:\t0\n", ""},
		"user":           {"CapEff:\t0000000000000000\n", "lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN"},
		"bpf alone":      {"CapEff:\t0000008000000000\n", "lacks CAP_PERFMON, CAP_NET_ADMIN"},
		"all three":      {"CapEff:\t000000c000001000\n", ""},
		"cannot be told": {"CapEff:\txyz\n", ""},
		"empty":          {"", ""},
	} {
		var c processContext
		c.parseStatus(test.status)
		if got := c.lacks(); !strings.HasSuffix(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestExplain(t *testing.T) {
	for want, test := range map[string]struct {
		c     processContext
		errno unix.Errno
	}{
		"seccomp":         {processContext{seccomp: true}, unix.EPERM},
		"CONFIG_BPF":      {processContext{}, unix.ENOSYS},
		"user namespace":  {processContext{userNS: true}, unix.EPERM},
		"container (lxc)": {processContext{container: "lxc"}, unix.EPERM},
		"lockdown":        {processContext{lockdown: "none integrity [confidentiality]"}, unix.EPERM},
		"security module": {processContext{}, unix.EPERM},
		"out of memory":   {processContext{seccomp: true}, unix.ENOMEM},
	} {
		if got := test.c.explain(test.errno); !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestKernelLog(t *testing.T) {
	for record, want := range map[string]string{
		"4,1234,5678,-;WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:2731\n SUBSYSTEM=x\n": "WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:2731",
		"6,1,2,-;": "",
		"garbage":  "",
		"":         "",
	} {
		got, ok := parseRecord(record)
		if got != want || ok != (want != "") {
			t.Errorf("%q gave %q, %v", record, got, ok)
		}
	}
	got := alarming([]string{"eth0: link up", "verifier bug: REG INVARIANTS VIOLATION (1)", "WARNING: CPU: 1"})
	if len(got) != 2 {
		t.Errorf("alarming: %q", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("4,1,2,-;text\n KEY=v\n")
	f.Fuzz(func(t *testing.T, s string) {
		if text, ok := parseRecord(s); ok && strings.Contains(text, "\n") {
			t.Errorf("%q", text)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add("Name:\tx\nCapEff:\t00\nSeccomp:\t2\n")
	f.Fuzz(func(t *testing.T, s string) {
		var c processContext
		c.parseStatus(s)
		if c.known && !strings.Contains(s, "CapEff") {
			t.Error("known from nothing")
		}
	})
}

func FuzzReadFrames(f *testing.F) {
	f.Add(`{"t":"step","text":"a:b/c"}` + "\n" + `{"t":"subject","subject":{"kind":"k","id":"i","outcome":"measured"}}` + "\n")
	f.Add("{}\n[")
	f.Fuzz(func(t *testing.T, s string) {
		_ = readFrames(strings.NewReader(s), func(fr frame) error {
			if fr.Type == frameSubject && fr.Subject.Kind == "" {
				t.Error("a subject without a name passed")
			}
			return nil
		})
	})
}
