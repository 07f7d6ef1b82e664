package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

var hosts = []string{"debian", "rhel", "ubuntu-cloud", "container"}

func TestIdentifyRecordedHosts(t *testing.T) {
	for _, name := range hosts {
		t.Run(name, func(t *testing.T) {
			id := Identify(t.Context(), readHost(t, name).root())
			got, err := json.MarshalIndent(&id, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := filepath.Join("testdata", name+".golden.json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// needs lists the facts of the Debian host that must be unknown when a file
// cannot be read. A file that is not here is not read on that host at all.
var needs = map[string][]string{
	"/proc/sys/kernel/osrelease":                                         {"release", "packages", "config_hash", "virtualization"},
	"/proc/sys/kernel/version":                                           {"version"},
	"/proc/sys/kernel/arch":                                              {"arch"},
	"/proc/sys/kernel/tainted":                                           {"taint"},
	"/proc/sys/kernel/random/boot_id":                                    {"boot_id"},
	"/proc/sys/kernel/bpf_stats_enabled":                                 {"sysctls"},
	"/proc/sys/kernel/unprivileged_bpf_disabled":                         {"sysctls"},
	"/proc/sys/net/core/bpf_jit_enable":                                  {"sysctls"},
	"/proc/sys/net/core/bpf_jit_harden":                                  {"sysctls"},
	"/proc/sys/net/core/bpf_jit_kallsyms":                                {"sysctls"},
	"/proc/sys/net/core/bpf_jit_limit":                                   {"sysctls"},
	"/proc/cmdline":                                                      {"cmdline"},
	"/proc/config.gz":                                                    {"config_hash"},
	"/proc/cpuinfo":                                                      {"cpu_model", "microcode", "virtualization"},
	"/proc/self/mountinfo":                                               {"cgroup"},
	"/proc/self/ns/pid":                                                  {"virtualization"},
	"/proc/self/ns/cgroup":                                               {"virtualization"},
	"/run/systemd/container":                                             {"virtualization"},
	"/sys/kernel/notes":                                                  {"build_id"},
	"/sys/kernel/btf/vmlinux":                                            {"btf_hash"},
	"/boot/config-6.1.0-40-amd64":                                        {"config_hash"},
	"/sys/devices/system/cpu/online":                                     {"cpu_count"},
	"/sys/devices/system/cpu/vulnerabilities":                            {"mitigations"},
	"/sys/devices/system/cpu/vulnerabilities/meltdown":                   {"mitigations"},
	"/sys/devices/system/cpu/vulnerabilities/spectre_v2":                 {"mitigations"},
	"/sys/devices/system/clocksource/clocksource0/available_clocksource": {"virtualization"},
	"/sys/hypervisor/type":                                               {"virtualization"},
	"/sys/firmware/devicetree/base/hypervisor/compatible":                {"virtualization"},
	"/sys/kernel/security/lockdown":                                      {"lockdown"},
	"/sys/kernel/security/lsm":                                           {"lsm"},
	"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": {"secure_boot"},
	"/sys/class/dmi/id/sys_vendor":                                              {"product", "virtualization"},
	"/sys/class/dmi/id/product_name":                                            {"product", "virtualization"},
	"/sys/class/dmi/id/board_vendor":                                            {"virtualization"},
	"/sys/class/dmi/id/bios_vendor":                                             {"virtualization"},
	"/sys/class/dmi/id/product_version":                                         {"virtualization"},
	"/sys/class/dmi/id/product_uuid":                                            {"product_uuid"},
	"/etc/machine-id":                                                           {"machine_id"},
	"/var/lib/dpkg/status":                                                      {"packages"},
	"/var/lib/pacman/local":                                                     {"packages"},
}

// TestEveryFileThatFails makes each file of a host fail in turn: the facts that
// stand in it must be in Errs with its path, and all others must be as before.
func TestEveryFileThatFails(t *testing.T) {
	good := Identify(t.Context(), readHost(t, "debian").root())
	if good.Errs != nil {
		t.Fatalf("errors on a host that is well: %v", good.Errs)
	}
	paths := map[string]bool{}
	h := readHost(t, "debian")
	for _, files := range []map[string]string{h.files, h.links} {
		for p := range files {
			paths[p] = true
		}
	}
	for p := range needs {
		paths[p] = true
	}
	for p := range paths {
		bad := Identify(t.Context(), readHost(t, "debian").fail(p, unix.EIO).root())
		want := slices.Sorted(slices.Values(needs[p]))
		if d := cmp.Diff(want, slices.Sorted(maps.Keys(bad.Errs))); d != "" {
			t.Errorf("%s fails: facts in Errs (-want +got):\n%s", p, d)
		}
		for fact, text := range bad.Errs {
			if !strings.Contains(text, p) || !strings.Contains(text, unix.EIO.Error()) {
				t.Errorf("%s fails: %s says %q", p, fact, text)
			}
		}
		for _, c := range good.Changes(&bad) {
			t.Errorf("%s fails: %s changed from %q to %q", p, c.Fact, c.Old, c.New)
		}
		checkOthers(t, p, good, bad)
	}
}

// checkOthers compares the JSON fields that Errs does not name.
func checkOthers(t *testing.T, p string, good, bad snapshot.Identity) {
	t.Helper()
	a, b := flatten(t, good), flatten(t, bad)
	for name := range a {
		fact := name
		if name == "model" || name == "count" {
			fact = "cpu_" + name
		}
		if _, failed := bad.Errs[fact]; !failed && !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s fails: %s was %s and is %s", p, name, a[name], b[name])
		}
	}
}

// flatten gives an identity's JSON fields by name, those of kernel and cpu too.
func flatten(t *testing.T, id snapshot.Identity) map[string]json.RawMessage {
	t.Helper()
	all, err := json.Marshal(&id)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]json.RawMessage{}
	if err := json.Unmarshal(all, &out); err != nil {
		t.Fatal(err)
	}
	for _, inner := range []string{"kernel", "cpu"} {
		if err := json.Unmarshal(out[inner], &out); err != nil {
			t.Fatal(err)
		}
		delete(out, inner)
	}
	delete(out, "errs")
	return out
}

func TestPartialFactsAreKept(t *testing.T) {
	h := readHost(t, "debian").
		fail("/proc/sys/net/core/bpf_jit_harden", unix.EPERM).
		fail("/sys/devices/system/cpu/vulnerabilities/meltdown", unix.EIO)
	id := Identify(t.Context(), h.root())
	if n, ok := id.Sysctls["net.core.bpf_jit_enable"]; !ok || n != 1 {
		t.Errorf("sysctls are %v", id.Sysctls)
	}
	if _, ok := id.Sysctls["net.core.bpf_jit_harden"]; ok {
		t.Errorf("a sysctl that could not be read is there: %v", id.Sysctls)
	}
	if id.CPU.Mitigations["spectre_v2"] == "" || len(id.CPU.Mitigations) != 1 {
		t.Errorf("mitigations are %v", id.CPU.Mitigations)
	}
}

func TestNothingIsThere(t *testing.T) {
	if d := cmp.Diff(snapshot.Identity{}, Identify(t.Context(), newHost().root())); d != "" {
		t.Errorf("an empty host has facts:\n%s", d)
	}
}

func TestCancelledIsUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, root := range map[string]*sysfs.Root{"recorded": readHost(t, "debian").root(), "live": sysfs.Live()} {
		id := Identify(ctx, root)
		for _, fact := range []string{"release", "btf_hash", "config_hash", "packages", "cgroup", "microcode", "taint", "virtualization"} {
			if id.Errs[fact] == "" {
				t.Errorf("%s: %s is not in Errs", name, fact)
			}
		}
	}
}

func TestIdentifyLive(t *testing.T) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	id := Identify(t.Context(), sysfs.Live())
	for fact, pair := range map[string][2]string{
		"release": {unix.ByteSliceToString(u.Release[:]), id.Kernel.Release},
		"version": {unix.ByteSliceToString(u.Version[:]), id.Kernel.Version},
		"arch":    {unix.ByteSliceToString(u.Machine[:]), id.Kernel.Arch},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: uname says %q, got %q (%s)", fact, pair[0], pair[1], id.Errs[fact])
		}
	}
	if id.BootID == "" || id.Kernel.Cmdline == "" || id.Taint == nil {
		t.Errorf("boot id %q, command line %q, taint %v: %v", id.BootID, id.Kernel.Cmdline, id.Taint, id.Errs)
	}
	if id.CPU.Count < runtime.NumCPU() || id.CPU.Model == "" {
		t.Errorf("CPU model %q, %d of them; this process may use %d", id.CPU.Model, id.CPU.Count, runtime.NumCPU())
	}
	again := Identify(t.Context(), sysfs.Live())
	if d := cmp.Diff(id, again); d != "" {
		t.Errorf("two readings differ:\n%s", d)
	}
	if id.Kernel.BuildID != "" && !id.SameBuild(&again) {
		t.Errorf("two readings are not of one build: %v", id.Changes(&again))
	}
}

func TestFactsAreNamedAsInErrs(t *testing.T) {
	var names []string
	full := Identify(t.Context(), readHost(t, "debian").root())
	for _, c := range (&snapshot.Identity{}).Changes(&full) {
		names = append(names, c.Fact)
	}
	var known []string
	for _, facts := range needs {
		known = append(known, facts...)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			t.Errorf("fact %s is compared but no file is known whose failure makes it unknown", n)
		}
	}
	if len(names) < 15 {
		t.Errorf("the Debian host shows only %v", names)
	}
}

func BenchmarkIdentify(b *testing.B) {
	b.ReportAllocs()
	root := sysfs.Live()
	for b.Loop() {
		Identify(b.Context(), root)
	}
}

func BenchmarkParseDpkg(b *testing.B) {
	var s strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&s, "Package: lib%d\nStatus: install ok installed\nVersion: 1.%d\nDescription: library\n%s\n\n", i, i, strings.Repeat(" text of the description\n", 30))
	}
	b.SetBytes(int64(s.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseDpkg(strings.NewReader(s.String()), func(name []byte) bool { return wanted(string(name), "6.1.0") }); err != nil {
			b.Fatal(err)
		}
	}
}
