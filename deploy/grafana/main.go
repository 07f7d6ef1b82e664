// Command grafana writes the dashboards beside it: host.json and fleet.json, in the form of Grafana 11 and 12
// (schemaVersion 39). They are made here and not by hand, so that a selector, a colour or a unit is said once:
//
//	go run ./deploy/grafana deploy/grafana
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: grafana FOLDER")
		os.Exit(2)
	}
	for name, d := range dashboards() {
		if err := write(filepath.Join(os.Args[1], name), d); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// dashboards are all of them by their files' names.
func dashboards() map[string]object {
	return map[string]object{"host.json": host(), "fleet.json": fleet()}
}

func write(name string, d object) error {
	b, err := encode(d)
	if err != nil {
		return fmt.Errorf("write dashboard %s: %w", name, err)
	}
	return os.WriteFile(name, b, 0o644)
}

// encode writes a dashboard; expressions keep their < and >.
func encode(d object) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return b.Bytes(), err
}
