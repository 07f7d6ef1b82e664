// Package config reads /etc/lastgood/lastgood.yaml. Every field has a default;
// an unknown field is refused, for a misspelt threshold is a check that cannot fail.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"lastgood/internal/compare"
	"lastgood/internal/notify"
	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
	"lastgood/loader"
)

// DefaultPath is where the service's configuration stands.
const DefaultPath = "/etc/lastgood/lastgood.yaml"

// Config is what an administrator may set.
type Config struct {
	// FailOn is the least severity that fails a check: critical (default) or warning.
	FailOn string `yaml:"fail_on"`
	// Budget bounds one check.
	Budget Duration `yaml:"budget"`
	// Jobs is how many programs are measured side by side.
	Jobs int `yaml:"jobs"`
	// Keep is how many boots the state folder remembers.
	Keep int `yaml:"keep"`
	// LearnBoots is how many good boots since the accepted one a boot is judged by besides; 0 is none.
	LearnBoots int `yaml:"learn_boots"`
	// SettleQuiet is how long no device may come or go before check --settle goes on.
	SettleQuiet Duration `yaml:"settle_quiet"`
	// Rules changes what a rule weighs, by its code.
	Rules map[string]Rule `yaml:"rules"`
	// Workloads say where the BPF objects of this node's agents are; nil means the places
	// that are known, an empty list none.
	Workloads *[]workload.Spec `yaml:"workloads"`
	// SmartBridges also asks disks behind USB bridges for their health. Some bridges hang on
	// such a question until they are plugged in anew.
	SmartBridges bool `yaml:"smart_bridges"`
	// Ignore lists subjects that are never judged, as patterns on "kind/id".
	Ignore []string `yaml:"ignore"`
	// Intended is what this host is meant to be; a boot that is not makes the verdict invalid.
	Intended Intended `yaml:"intended"`
	// Gate says what a regression leads to, Notify who is told.
	Gate   Gate          `yaml:"gate"`
	Notify notify.Config `yaml:"notify"`
}

// Rule changes parts of one rule.
type Rule struct {
	Severity *string  `yaml:"severity"`
	Ratio    *float64 `yaml:"ratio"`
	Floor    *float64 `yaml:"floor"`
	Share    *float64 `yaml:"share"`
}

// Duration is a time as people write it: 20s, 1m30s.
type Duration time.Duration

// UnmarshalYAML reads a duration with its unit.
func (d *Duration) UnmarshalYAML(b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %q: write it with its unit, as 20s", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration %q: write it with its unit, as 20s", s)
	}
	*d = Duration(v)
	return nil
}

// Default is the configuration of a host without one.
func Default() Config {
	return Config{FailOn: string(snapshot.Critical), Budget: Duration(20 * time.Second), Jobs: 1, Keep: 30, LearnBoots: 5, SettleQuiet: Duration(10 * time.Second), Gate: defaultGate()}
}

// Load reads the file at path over the defaults. A file that is not there is no
// error where path is the default one.
func Load(path string) (Config, error) {
	c := Default()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && path == DefaultPath {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(b, path)
}

// Parse reads a configuration over the defaults; name is used in errors.
func Parse(b []byte, name string) (Config, error) {
	c := Default()
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.DisallowUnknownField()); err != nil {
		return c, fmt.Errorf("read configuration %s: %s", name, yaml.FormatError(err, false, true))
	}
	if c.Budget == 0 && c.Jobs == 0 && c.Keep == 0 && c.FailOn == "" {
		c = Default() // an empty document, or one of comments only, clears what it is read over
	}
	return c, c.check(name)
}

func (c *Config) check(name string) error {
	switch {
	case c.Budget <= 0:
		return fmt.Errorf("read configuration %s: budget %v: not above zero", name, time.Duration(c.Budget))
	case c.Jobs < 1:
		return fmt.Errorf("read configuration %s: jobs %d: not above zero", name, c.Jobs)
	case c.Keep < 2:
		return fmt.Errorf("read configuration %s: keep %d: the last good boot and the current one need 2", name, c.Keep)
	case c.LearnBoots < 0 || c.LearnBoots > maxLearnBoots:
		return fmt.Errorf("read configuration %s: learn_boots %d: not between 0 and %d", name, c.LearnBoots, maxLearnBoots)
	case c.SettleQuiet <= 0:
		return fmt.Errorf("read configuration %s: settle_quiet %v: not above zero", name, time.Duration(c.SettleQuiet))
	}
	if err := c.Intended.check(name); err != nil {
		return err
	}
	if err := errors.Join(c.Gate.check(name), c.Notify.Check()); err != nil {
		return err
	}
	return c.checkWorkloads(name)
}

// maxLearnBoots bounds what a check reads: a snapshot takes some milliseconds to decode.
const maxLearnBoots = 20

// checkWorkloads refuses what would look for nothing.
func (c *Config) checkWorkloads(name string) error {
	if c.Workloads == nil {
		return nil
	}
	seen := map[string]bool{}
	for i, w := range *c.Workloads {
		switch {
		case w.Name == "":
			return fmt.Errorf("read configuration %s: workloads: entry %d has no name", name, i+1)
		case seen[w.Name]:
			return fmt.Errorf("read configuration %s: workloads: there are two of the name %s", name, w.Name)
		case len(w.Objects) == 0:
			return fmt.Errorf("read configuration %s: workloads: %s has no objects", name, w.Name)
		case w.Loader != "" && w.Loader != loader.LoaderLibbpf && w.Loader != loader.LoaderEbpfGo:
			return fmt.Errorf("read configuration %s: workloads: %s: loader %q is neither libbpf nor ebpf-go", name, w.Name, w.Loader)
		}
		seen[w.Name] = true
	}
	return nil
}

// Policy is the part of the configuration that judging takes.
func (c *Config) Policy() compare.Policy {
	p := compare.Policy{FailOn: snapshot.Severity(c.FailOn), Ignore: c.Ignore}
	for code, r := range c.Rules {
		if p.Rules == nil {
			p.Rules = map[string]compare.Override{}
		}
		o := compare.Override{Ratio: r.Ratio, Floor: r.Floor, Share: r.Share}
		if r.Severity != nil {
			s := snapshot.Severity(*r.Severity)
			o.Severity = &s
		}
		p.Rules[code] = o
	}
	return p
}
