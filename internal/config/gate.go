package config

import (
	"fmt"
	"strings"
	"time"

	"lastgood/internal/gate"
)

// Gate says what a regression leads to.
type Gate struct {
	// OnRegression is the most that is done by itself: notify, hold (default) or rollback.
	OnRegression gate.Reaction `yaml:"on_regression"`
	// MaxStrikes is the bad boot in a row at which nothing more is tried (default 3).
	MaxStrikes int `yaml:"max_strikes"`
	// Hold lists the units that wait for a verdict; nil means the agents of Kubernetes.
	// Storage daemons and libvirt are not among these: holding them costs redundancy.
	Hold *[]string `yaml:"hold"`
	// AssessWithin bounds the assessment after the boot (default 3m).
	AssessWithin Duration `yaml:"assess_within"`
}

// heldUnits are those of the node agents that start workloads by themselves.
var heldUnits = []string{"kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service",
	"k0scontroller.service", "k0sworker.service", "snap.microk8s.daemon-kubelite.service"}

func defaultGate() Gate {
	return Gate{OnRegression: gate.Hold, MaxStrikes: 3, AssessWithin: Duration(3 * time.Minute)}
}

// Units are those that wait for a verdict.
func (g *Gate) Units() []string {
	if g.Hold == nil {
		return heldUnits
	}
	return *g.Hold
}

// Policy is what deciding takes.
func (g *Gate) Policy() gate.Policy {
	return gate.Policy{OnRegression: g.OnRegression, MaxStrikes: g.MaxStrikes}
}

// unitTypes are those that can be held by a condition.
var unitTypes = []string{".service", ".target", ".socket", ".timer", ".path", ".mount", ".slice"}

func (g *Gate) check(name string) error {
	if !g.OnRegression.Valid() {
		return fmt.Errorf("read configuration %s: gate: on_regression %q: it is notify, hold or rollback", name, g.OnRegression)
	}
	if g.MaxStrikes < 1 {
		return fmt.Errorf("read configuration %s: gate: max_strikes %d: not above zero", name, g.MaxStrikes)
	}
	if d := time.Duration(g.AssessWithin); d <= 0 || d > 10*time.Minute {
		return fmt.Errorf("read configuration %s: gate: assess_within %v: not between zero and 10m", name, d)
	}
	for _, u := range g.Units() {
		if !unitName(u) {
			return fmt.Errorf("read configuration %s: gate: hold: %q is no unit's name, as kubelet.service", name, u)
		}
		if strings.HasPrefix(u, "lastgood") {
			return fmt.Errorf("read configuration %s: gate: hold: %s would wait for itself", name, u)
		}
	}
	return nil
}

// unitName reports whether a word can be a unit's name (systemd.unit(5)).
func unitName(s string) bool {
	if len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
	}) {
		return false
	}
	for _, t := range unitTypes {
		if base, ok := strings.CutSuffix(s, t); ok {
			return base != ""
		}
	}
	return false
}
