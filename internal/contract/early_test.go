package contract

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// counted is a snapshot with the containers of docker, as they are read at an uptime.
func counted(t *testing.T, running, early string) *snapshot.Snapshot {
	t.Helper()
	s := snapshot.Subject{Kind: containerKind, ID: "docker", Outcome: snapshot.Measured}
	s.Set("any", snapshot.Text(running))
	s.Set("autostart", snapshot.Text("yes"))
	if running == "no" && early != "" {
		s.Outcome, s.Reason = snapshot.Inconclusive, early
	}
	return &snapshot.Snapshot{Subjects: []snapshot.Subject{s}}
}

// TestStillToCome: containers that ran are waited for while the host is young, those that never did are not.
func TestStillToCome(t *testing.T) {
	for _, c := range []struct {
		before, now, early string
		want               []string
	}{
		{"yes", "no", "the host is up for 40s only", []string{"docker"}},
		{"yes", "no", "", nil}, // they are missed now
		{"yes", "yes", "", nil},
		{"no", "no", "the host is up for 40s only", nil},
	} {
		if have := StillToCome(counted(t, c.before, ""), counted(t, c.now, c.early)); !slices.Equal(have, c.want) {
			t.Errorf("%+v: %v", c, have)
		}
	}
	if have := StillToCome(&snapshot.Snapshot{}, counted(t, "no", "x")); have != nil {
		t.Errorf("not known before: %v", have)
	}
}

// TestClockIsGivenTime: a clock that no server holds yet is not told of a host that has just come up, and is of one that has not.
func TestClockIsGivenTime(t *testing.T) {
	for _, c := range []struct {
		held              bool
		early, want, errs string
	}{
		{true, "the host is up for 40s only", "yes", ""}, {false, "the host is up for 40s only", "", "not yet"}, {false, "", "no", ""},
	} {
		var s snapshot.Subject
		setSynchronized(&s, c.held, c.early)
		if s.Text("synchronized") != c.want || !strings.HasPrefix(s.Errs["synchronized"], c.errs) || (c.errs == "") != (len(s.Errs) == 0) {
			t.Errorf("%+v: %+v", c, s)
		}
	}
}

// TestUpSince: a recording is of no age, and this machine of the age that its kernel says.
func TestUpSince(t *testing.T) {
	recorded := source.Host{Root: sysfs.New(&sysfstest.FS{Files: map[string]string{"/proc/uptime": "40.00 1\n"}})}
	if have := upSince(t.Context(), recorded, time.Hour); have != "" {
		t.Errorf("a recording: %q", have)
	}
	live := source.Host{Root: sysfs.Live()}
	up, err := uptime(t.Context(), live.Root)
	if err != nil {
		t.Fatal(err)
	}
	if have := upSince(t.Context(), live, up+time.Hour); !strings.HasPrefix(have, "the host is up for ") {
		t.Errorf("this machine, up for %v: %q", up, have)
	}
	if have := upSince(t.Context(), live, up/2); have != "" {
		t.Errorf("this machine, up for %v: %q", up, have)
	}
}
