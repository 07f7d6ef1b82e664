package main

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the dashboards")

// TestDashboards keeps the files what this program makes. What they ask for is held against the metrics by internal/cli.
func TestDashboards(t *testing.T) {
	for name, d := range dashboards() {
		want, err := encode(d)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := write(name, d); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(have), string(want)); d != "" {
			t.Errorf("%s is out of date; rewrite it with `go test ./deploy/grafana -update` (-have +want):\n%s", name, d)
		}
	}
}
