package cli

import (
	"regexp"
	"strings"
	"testing"
)

// TestUnitsEnd: a oneshot unit has no start timeout of its own, and the manager's stop timeout is
// 90 s: whatever runs lastgood once says how long it may hang, at the start and at a shutdown.
func TestUnitsEnd(t *testing.T) {
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(?:15|20)s$`)
	n := 0
	for name, text := range ourUnits(t) {
		if !strings.Contains(text, "\nType=oneshot\n") || !strings.Contains(text, "=/usr/bin/lastgood ") {
			continue
		}
		n++
		if !strings.Contains(text, "\nTimeoutStartSec=") || !stop.MatchString(text) {
			t.Errorf("%s does not say how long it may take to start and to stop", name)
		}
		if !strings.Contains(text, "\nExecStop=") && !strings.Contains(text, "\nTimeoutStartFailureMode=kill\n") {
			t.Errorf("%s: a thread that is stuck in the kernel ignores SIGTERM, and the stop timeout is waited for besides", name)
		}
	}
	if n < 7 {
		t.Errorf("%d units run lastgood once", n)
	}
}
