package cli

import (
	"strings"
	"testing"

	"lastgood/internal/gate"
	"lastgood/internal/snapshot"
)

// TestAcceptSaysWhatIsHeld: who accepts a boot whose workloads are held, or of which somebody was told, reads how that ends.
func TestAcceptSaysWhatIsHeld(t *testing.T) {
	h := newGateHost(t)
	g := h.boot("bad", newRelease)
	said := func() string { return strings.Join(g.s.stillHeld("bad"), " ") }
	if have := said(); have != "" {
		t.Errorf("nothing happened: %q", have)
	}
	g.judge(t, gate.Checked, snapshot.Regressed)
	if have := said(); !strings.Contains(have, "still held") || !strings.Contains(have, "lastgood bless") {
		t.Errorf("held: %q", have)
	}
	if have := g.s.stillHeld("other"); have != nil {
		t.Errorf("another boot: %q", have)
	}
	if _, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.Release}); err != nil {
		t.Fatal(err)
	}
	if have := said(); !strings.Contains(have, "ends the alerts") || strings.Contains(have, "held") {
		t.Errorf("released: %q", have)
	}
	if _, err := g.byHand(t.Context(), g.s, gate.Event{Type: gate.Confirm}); err != nil {
		t.Fatal(err)
	}
	if have := said(); have != "" {
		t.Errorf("confirmed: %q", have)
	}
}
