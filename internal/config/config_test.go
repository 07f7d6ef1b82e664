package config

import (
	"path/filepath"
	"strings"
	"testing"
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
