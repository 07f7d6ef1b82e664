package hw

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ethtool"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

func TestLinkMode(t *testing.T) {
	ours := []ethtool.AdvertisedLinkMode{{Name: "1000baseT/Full"}, {Name: "100baseT/Full"}}
	cases := []struct {
		name string
		mode ethtool.LinkMode
		up   bool
		want snapshot.Attrs
	}{
		{"up", ethtool.LinkMode{SpeedMegabits: 25000, Duplex: ethtool.Full, Autoneg: ethtool.AutonegOn, Ours: ours}, true,
			snapshot.Attrs{"speed_bits": snapshot.Int(int64(25e9)), "duplex": snapshot.Text("full"), "autoneg": snapshot.Text("on"), "modes": snapshot.List("1000baseT/Full", "100baseT/Full")}},
		{"not known", ethtool.LinkMode{SpeedMegabits: 1<<32 - 1, Duplex: ethtool.Unknown, Autoneg: 7}, true, nil},
		{"down", ethtool.LinkMode{SpeedMegabits: 1000, Duplex: ethtool.Half, Autoneg: ethtool.AutonegOff}, false, snapshot.Attrs{"autoneg": snapshot.Text("off")}},
	}
	for _, c := range cases {
		d := &device{}
		d.linkMode(&c.mode, c.up)
		if diff := cmp.Diff(c.want, d.Attrs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// A question that gets no answer costs its patience once; the next are not asked.
func TestLinkAskerGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := &linkAsker{ctx: ctx}
	release := make(chan struct{})
	defer close(release)
	cancel()
	if _, err := answerOf(a, func() (int, error) { <-release; return 1, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("no answer: %v", err)
	}
	asked := false
	if _, err := answerOf(a, func() (int, error) { asked = true; return 1, nil }); err == nil || asked {
		t.Errorf("asked again: %v, %v", asked, err)
	}
}

// That an interface is not used is only said where everything that could say otherwise
// was read.
func TestUsed(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		errs  map[string]error
		want  string
	}{
		"nothing":         {map[string]string{"/x/operstate": "down\n", "/x/carrier": "0\n"}, nil, "no"},
		"a signal":        {map[string]string{"/x/operstate": "down\n", "/x/carrier": "1\n"}, nil, "yes"},
		"no answer":       {map[string]string{"/x/operstate": "down\n"}, map[string]error{"/x/carrier": errors.New("sick")}, ""},
		"rubbish":         {map[string]string{"/x/operstate": "down\n", "/x/carrier": "\xff\n"}, nil, ""},
		"unread but used": {map[string]string{"/x/operstate": "up\n"}, map[string]error{"/x/carrier": errors.New("sick")}, "yes"},
	} {
		d := &device{ctx: t.Context(), root: sysfs.New(&sysfstest.FS{Files: c.files, Errs: c.errs}), dir: "/x"}
		d.belongs()
		d.readLink(nil)
		if got := d.Text("used"); got != c.want {
			t.Errorf("%s: used %q, want %q (%v)", name, got, c.want, d.Errs)
		}
	}
}
