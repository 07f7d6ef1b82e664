package cli

import (
	"testing"

	"lastgood/internal/preflight"
	"lastgood/internal/source"
	"lastgood/probes"
)

// TestInVM: a quick look measures exact counters alone; timing is never done in a VM, and
// attachment only where the candidate's modules are at hand.
func TestInVM(t *testing.T) {
	h := source.Host{}
	for name, c := range map[string]struct {
		job  preflight.Job
		want map[string]bool // groups, or names of sources
	}{
		"quick":      {preflight.Job{Quick: true, Modules: true}, map[string]bool{"deduce_link": true, "l7_parser": false, "bpf_behaviour": false, "bpf_attach": false, "bpf_speed": false, "bpf_breaking_points": false}},
		"plain":      {preflight.Job{Modules: true}, map[string]bool{"deduce_link": true, "l7_parser": true, "bpf_behaviour": true, "bpf_attach": true, "bpf_speed": false, "bpf_breaking_points": false}},
		"no modules": {preflight.Job{Thorough: true}, map[string]bool{"l7_parser": true, "bpf_attach": false, "bpf_speed": false, "bpf_breaking_points": true}},
		"by name":    {preflight.Job{Quick: true, Families: []string{"l7_parser"}}, map[string]bool{"l7_parser": true}},
	} {
		got := map[string]bool{}
		for _, s := range inVM(probes.Sources(), c.job) {
			got[s.Name] = true
			for _, st := range s.Steps(h) {
				got[st.Group] = true
			}
		}
		for what, want := range c.want {
			if got[what] != want {
				t.Errorf("%s: %s is %v, want %v", name, what, got[what], want)
			}
		}
	}
}
