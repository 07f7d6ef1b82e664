package boot

import (
	"testing"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// kernelSnapshot is a snapshot of the Debian host with changed files.
func kernelSnapshot(t *testing.T, changed map[string]string) *snapshot.Snapshot {
	t.Helper()
	h := readHost(t, "debian")
	h.files["/proc/cpuinfo"] = "processor: 0\nmodel name: A\nmicrocode: 0x1\n"
	for name, content := range changed {
		h.files[name] = content
	}
	return &snapshot.Snapshot{
		Identity: Identify(t.Context(), h.root()),
		Subjects: []snapshot.Subject{readOne(t, h.root())},
	}
}

func TestRulesOfTheRunningKernel(t *testing.T) {
	kinds, err := source.Kinds(Sources())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		old, new map[string]string
		code     string // "" where nothing may be found
		severity snapshot.Severity
		message  string
	}{
		"nothing": {},
		"warned": {new: map[string]string{"/proc/sys/kernel/tainted": "4609"}, code: "kernel-tainted", severity: snapshot.Warning,
			message: "the kernel became tainted: W (kernel warning)"},
		"clean again": {new: map[string]string{"/proc/sys/kernel/tainted": "0"}},
		"lockdown": {new: map[string]string{"/sys/kernel/security/lockdown": "none integrity [confidentiality]"}, code: "lockdown-changed", severity: snapshot.Warning,
			message: "kernel lockdown went from integrity to confidentiality"},
		"panic on warn": {new: map[string]string{"/proc/sys/kernel/panic_on_warn": "1"}, code: "panic-on-warn-set", severity: snapshot.Info,
			message: "a kernel warning is now a panic (kernel.panic_on_warn=1): measurements near the kernel's limits are left out"},
		"no panic on warn": {old: map[string]string{"/proc/sys/kernel/panic_on_warn": "1"}},
		"mixed microcode": {new: map[string]string{"/proc/cpuinfo": "processor: 0\nmodel name: A\nmicrocode: 0x1\n\nprocessor: 1\nmodel name: A\nmicrocode: 0x2\n"},
			code: "microcode-mixed", severity: snapshot.Warning, message: "the CPUs run 2 different microcode revisions"},
		"new microcode": {new: map[string]string{"/proc/cpuinfo": "processor: 0\nmodel name: A\nmicrocode: 0x2\n"}},
		"mitigation": {new: map[string]string{"/sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI"}, code: "mitigation-changed", severity: snapshot.Info,
			message: "CPU mitigations changed: now [meltdown=Mitigation: PTI], before [meltdown=Not affected]"},
	} {
		j := compare.Judge(kernelSnapshot(t, test.old), kernelSnapshot(t, test.new), kinds, compare.Policy{})
		if test.code == "" {
			if len(j.Findings) != 0 {
				t.Errorf("%s: found %+v", name, j.Findings)
			}
			continue
		}
		if len(j.Findings) != 1 {
			t.Errorf("%s: %d findings: %+v", name, len(j.Findings), j.Findings)
			continue
		}
		f := j.Findings[0]
		if f.Code != test.code || f.Severity != test.severity || f.Message != test.message {
			t.Errorf("%s: got %s %s %q", name, f.Code, f.Severity, f.Message)
		}
	}
}
