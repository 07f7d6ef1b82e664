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

func TestAlarming(t *testing.T) {
	got := alarming([]string{"eth0: link up", "verifier bug: REG INVARIANTS VIOLATION (1)", "WARNING: CPU: 1"})
	if len(got) != 2 {
		t.Errorf("alarming: %q", got)
	}
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
