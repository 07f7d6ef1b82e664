package gate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DropIn is the name of the generated file below UNIT.d.
const DropIn = "50-lastgood.conf"

// GateUnit is the unit that held ones are ordered after.
const GateUnit = "lastgood-gate.service"

// dropIn holds a unit back while the hold file is there. It is a condition and not a
// dependency: where lastgood fails or is not there nothing keeps the unit, a unit that is
// held is skipped and does not fail, and restarting the gate stops nothing.
const dropIn = `# Made by lastgood-generator(8) at every boot and daemon-reload, from gate.hold of
# /etc/lastgood/lastgood.yaml.
[Unit]
After=` + GateUnit + `
ConditionPathExists=!` + HoldPath + `
`

// Generate writes the drop-ins into a generator's folder (systemd.generator(7)).
func Generate(dir string, units []string) error {
	var errs []error
	for _, u := range units {
		d := filepath.Join(dir, u+".d")
		err := os.MkdirAll(d, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(d, DropIn), []byte(dropIn), 0o644)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("hold %s: %w", u, err))
		}
	}
	return errors.Join(errs...)
}

// SkipWord on the kernel's command line turns all of the gate off.
const SkipWord = "lastgood.skip"

// Skipped reports whether a command line turns the gate off.
func Skipped(cmdline string) bool {
	for _, w := range strings.Fields(cmdline) {
		if w == "--" {
			return false // the rest is init's
		}
		if name, value, has := strings.Cut(w, "="); name == SkipWord && (!has || value != "0" && value != "no") {
			return true
		}
	}
	return false
}
