package probes

import "testing"

func TestReleaseBefore(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-46-cloud-amd64": true, "6.1.0-56-amd64": true, "4.18.0-553.el8": true,
		"6.2.0": false, "6.12.117+deb12": false, "7.0.4": false, "10.1": false,
		"": false, "next": false,
	} {
		if got := releaseBefore(release, quickTargets); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}
