package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"time"

	"lastgood/internal/snapshot"
)

func TestParse(t *testing.T) {
	c, err := Parse([]byte("fail_on: warning\nbudget: 5s\nrules:\n  insns-grew:\n    severity: critical\n    ratio: 1.5\nignore: ['hw.usb/*']\n"), "x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if time.Duration(c.Budget) != 5*time.Second || c.Keep != Default().Keep {
		t.Errorf("got budget %v, keep %d", time.Duration(c.Budget), c.Keep)
	}
	p := c.Policy()
	o := p.Rules["insns-grew"]
	if p.FailOn != snapshot.Warning || *o.Severity != snapshot.Critical || *o.Ratio != 1.5 || o.Floor != nil || len(p.Ignore) != 1 {
		t.Errorf("got policy %+v", p)
	}
}

func TestParseWorkloads(t *testing.T) {
	c, err := Parse([]byte("smart_bridges: true\nworkloads:\n  - name: agent\n    objects: [/opt/agent/*.o]\n    loader: ebpf-go\n    inner_maps: {outer: {type: hash, key_size: 4, value_size: 8, max_entries: 16}}\n"), "x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !c.SmartBridges || c.Workloads == nil || len(*c.Workloads) != 1 || (*c.Workloads)[0].InnerMaps["outer"].ValueSize != 8 {
		t.Errorf("got %+v", c.Workloads)
	}
	if c, err = Parse([]byte("workloads: []\n"), "x.yaml"); err != nil || c.Workloads == nil || len(*c.Workloads) != 0 {
		t.Errorf("none at all: %+v, %v", c.Workloads, err)
	}
	if Default().Workloads != nil || Default().SmartBridges {
		t.Error("the places that are known are to be the default, and bridges are not asked")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown field":  "fail-on: warning\n",
		"no unit":        "budget: 5\n",
		"no time":        "budget: 0s\n",
		"no jobs":        "jobs: 0\n",
		"no room":        "keep: 1\n",
		"less than none": "learn_boots: -1\n",
		"too many":       "learn_boots: 1000\n",
		"no quiet":       "settle_quiet: 0s\n",
		"no yaml":        "rules: [\n",
		"no name":        "workloads: [{objects: [/x]}]\n",
		"no objects":     "workloads: [{name: a}]\n",
		"name twice":     "workloads: [{name: a, objects: [/x]}, {name: a, objects: [/y]}]\n",
		"no such loader": "workloads: [{name: a, objects: [/x], loader: bcc}]\n",
		"wrong type":     "rules: 7\n",
	} {
		if _, err := Parse([]byte(text), "x.yaml"); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), "x.yaml") {
			t.Errorf("%s: error does not name the file: %v", name, err)
		}
	}
}

func TestLoadNamedFileMustExist(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a named file that is not there was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("budget: 5s\nrules: {a: {severity: info}}\n"))
	f.Add([]byte("? [\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b, "f")
		if err == nil && (c.Jobs < 1 || c.Budget <= 0) {
			t.Errorf("accepted %+v", c)
		}
	})
}

// TestHeldByDefault: the agents of every Kubernetes that is started by systemd wait for the gate, and nothing else does.
func TestHeldByDefault(t *testing.T) {
	c := Default()
	want := []string{"kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service",
		"k0scontroller.service", "k0sworker.service", "snap.microk8s.daemon-kubelite.service"}
	if d := cmp.Diff(want, c.Gate.Units()); d != "" {
		t.Errorf("held by default (-want +got):\n%s", d)
	}
	for _, u := range want {
		if !unitName(u) {
			t.Errorf("%s is no unit's name", u)
		}
	}
}
