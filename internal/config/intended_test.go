package config

import (
	"strings"
	"testing"

	"lastgood/internal/snapshot"
)

func TestProve(t *testing.T) {
	id := snapshot.Identity{Virtualization: "kvm", CPU: snapshot.CPUIdentity{Model: "AMD EPYC 9454P 48-Core Processor w/ Radeon"},
		Kernel: snapshot.KernelIdentity{Release: "5.14.0-611.34.1.el9_7.x86_64", Arch: "x86_64"}}
	unread := id
	unread.Errs = map[string]string{"lockdown": "read /sys/kernel/security/lockdown: permission denied", "release": "read: input/output error"}
	for name, c := range map[string]struct {
		in             Intended
		id             snapshot.Identity
		wrong, unknown string
	}{
		"nothing is meant":         {id: id},
		"all as meant":             {in: Intended{Arch: "x86_64", Kernel: "5.14.0-611.*", Flavour: PlainFlavour, Virtualization: "kvm", Lockdown: "none", CPU: "*EPYC*"}, id: id},
		"i386 is not amd64":        {in: Intended{Arch: "i686"}, id: id, wrong: "arch is x86_64 and is meant to be i686"},
		"real time":                {in: Intended{Flavour: "rt"}, id: id, wrong: "flavour is plain"},
		"locked down":              {in: Intended{Lockdown: "integrity"}, id: id, wrong: "lockdown is none"},
		"lockdown cannot be read":  {in: Intended{Lockdown: "none"}, id: unread, unknown: "permission denied"},
		"release cannot be read":   {in: Intended{Kernel: "5.14*"}, id: unread, unknown: "input/output error"},
		"the kernel does not say":  {in: Intended{CPU: "*"}, id: snapshot.Identity{}, unknown: "does not say"},
		"a slash in the CPU model": {in: Intended{CPU: "*w/ Radeon"}, id: id},
	} {
		wrong, unknown := c.in.Prove(&c.id, "")
		for what, got := range map[string][]Mismatch{c.wrong: wrong, c.unknown: unknown} {
			if what == "" && c.wrong != c.unknown {
				continue // the other one is looked at
			}
			if (len(got) == 1) != (what != "") || what != "" && !strings.Contains(got[0].String(), what) {
				t.Errorf("%s: %v and %v", name, wrong, unknown)
			}
		}
		if len(wrong) > 0 && c.wrong == "" || len(unknown) > 0 && c.unknown == "" {
			t.Errorf("%s: %v and %v", name, wrong, unknown)
		}
	}
}

func TestIntendedIsChecked(t *testing.T) {
	for _, text := range []string{"intended: {kernel: '[6'}\n", "intended: {lockdown: strict}\n", "intended: {os: debian}\n"} {
		if _, err := Parse([]byte(text), "x.yaml"); err == nil || !strings.Contains(err.Error(), "x.yaml") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "# nothing set\n", "---\n"} {
		c, err := Parse([]byte(text), "x.yaml")
		if err != nil || c.Keep != Default().Keep || c.Budget != Default().Budget {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}
