// Package layers keeps the layers of the house: imports point downward only.
package layers

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "lastgood"

// above lists, for each package of ours, what it may import of ours. A package
// that is not here fails the test, so that a new one finds its place first.
var above = map[string][]string{
	"internal/snapshot":        {},
	"internal/sysfs":           {},
	"internal/sysfs/sysfstest": {"internal/sysfs"},
	"internal/footprint":       {},
	"internal/fstab":           {},
	"internal/kmsg":            {"internal/sysfs"},
	"internal/scrub":           {"internal/sysfs"},
	"internal/source":          {"internal/snapshot", "internal/sysfs"},
	"bpf":                      {},
	"internal/netlab":          {},
	"loader":                   {},
	"probes":                   {"bpf", "loader", "internal/netlab", "internal/snapshot", "internal/source", "internal/sysfs"},
	"hw":                       {"internal/fstab", "internal/kmsg", "internal/snapshot", "internal/source", "internal/sysfs"},
	"internal/boot":            {"internal/bootloader", "internal/kernels", "internal/snapshot", "internal/source", "internal/sysfs"},
	"internal/contract":        {"internal/fstab", "internal/snapshot", "internal/source", "internal/sysfs"},
	"internal/watch":           {"hw", "internal/snapshot", "internal/source", "internal/sysfs"},
	"internal/compare":         {"internal/snapshot"},
	"internal/collect":         {"internal/boot", "internal/footprint", "internal/kmsg", "internal/snapshot", "internal/source", "internal/sysfs", "loader"},
	"internal/baseline":        {"internal/snapshot"},
	"internal/report":          {"internal/snapshot", "loader"},
	"internal/export":          {"internal/report", "internal/snapshot", "loader"},
	"internal/kmod":            {},
	"internal/vm":              {"internal/kmod"},
	"internal/kernels":         {"internal/sysfs"},
	"internal/bootloader":      {"internal/sysfs"},
	"internal/candidate":       {"internal/kmod", "internal/snapshot", "internal/source", "internal/sysfs", "loader"},
	"internal/preflight":       {"internal/bootloader", "internal/fstab", "internal/kmod", "internal/snapshot", "internal/source", "internal/sysfs", "internal/vm", "loader"},
	"internal/workload":        {"internal/snapshot", "internal/source", "loader"},
	"internal/gate":            {"internal/baseline", "internal/snapshot"},
	"internal/notify":          {"internal/baseline"},
	"internal/config":          {"internal/compare", "internal/gate", "internal/notify", "internal/snapshot", "internal/workload", "loader"},
	"internal/veristat":        {"internal/snapshot"},
	"internal/metrics":         {"internal/compare", "internal/report", "internal/snapshot"},
	"internal/page":            {"internal/baseline", "internal/boot", "internal/compare", "internal/gate", "internal/report", "internal/snapshot", "internal/watch", "loader"},
	"internal/page/pagetest":   {"hw", "internal/baseline", "internal/boot", "internal/collect", "internal/compare", "internal/contract", "internal/gate", "internal/report", "internal/snapshot", "internal/watch", "internal/workload", "loader", "probes"},
	"internal/serve":           {"internal/baseline", "internal/footprint", "internal/gate", "internal/metrics", "internal/notify", "internal/page", "internal/report", "internal/snapshot"},
	"internal/cli":             {"hw", "internal/kmsg", "internal/scrub", "internal/baseline", "internal/boot", "internal/bootloader", "internal/candidate", "internal/collect", "internal/compare", "internal/config", "internal/contract", "internal/gate", "internal/notify", "internal/kernels", "internal/netlab", "internal/preflight", "internal/report", "internal/snapshot", "internal/source", "internal/sysfs", "internal/veristat", "internal/vm", "internal/watch", "internal/workload", "internal/export", "internal/metrics", "internal/page", "internal/serve", "loader", "probes"},
	"internal/layers":          {},
	"internal/systemvm":        {},
	"cmd/lastgood":             {"internal/cli"},
	"deploy/grafana":           {},

	// Real objects and a real browser for tests; nothing but tests imports these.
	"internal/vm/vmtest":        {},
	"internal/thirdparty":       {},
	"internal/thirdparty/fetch": {"internal/thirdparty"},
	"internal/browser":          {},
}

// only lists where a foreign package may be imported.
var only = map[string][]string{
	"github.com/cilium/ebpf":         {"bpf", "loader", "probes"},
	"github.com/bougou/go-ipmi":      {"hw"},
	"github.com/jaypipes/ghw":        {"hw"},
	"github.com/jaypipes/pcidb":      {"hw"},
	"github.com/prometheus/procfs":   {"hw"},
	"github.com/vishvananda/netlink": {"hw", "internal/contract", "internal/netlab"},
	"github.com/mdlayher/ethtool":    {"hw"},
	"github.com/spf13/pflag":         {"internal/cli"},
	"github.com/goccy/go-yaml":       {"internal/config", "internal/contract"},
	"github.com/coreos/go-systemd":   {"internal/contract", "internal/serve"},
	"github.com/prometheus":          {"hw", "internal/metrics", "internal/serve"},
	"github.com/godbus/dbus":         {"internal/contract"},
	"github.com/moby/sys/mountinfo":  {"internal/contract"},
	"golang.org/x/net":               {"internal/contract"},
	"os/exec":                        {"internal/boot", "internal/browser", "internal/candidate", "internal/collect", "internal/contract", "internal/gate", "internal/kernels", "internal/kmod", "internal/netlab", "internal/notify", "internal/thirdparty", "internal/vm", "internal/vm/vmtest", "internal/watch"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsPointDownward(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, known := above[name]
		if !known {
			t.Errorf("package %s has no place in the layers", name)
		}
		for _, imp := range p.Imports {
			if ours, found := strings.CutPrefix(imp, module+"/"); found {
				if !slices.Contains(allowed, ours) {
					t.Errorf("%s imports %s: not below it", name, ours)
				}
				continue
			}
			for foreign, where := range only {
				if (imp == foreign || strings.HasPrefix(imp, foreign+"/")) && !slices.Contains(where, name) {
					t.Errorf("%s imports %s: that belongs in %s", name, imp, strings.Join(where, ", "))
				}
			}
			if name == "internal/snapshot" && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				t.Errorf("%s imports %s: it takes the standard library only", name, imp)
			}
		}
	}
}
