package watch

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's own events come through a real socket.
func TestHintsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hints, err := Hints(ctx)
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
		t.Errorf("open: %v", err)
	}
	cancel()
	for range hints { // it is closed
	}
}

func TestHintParsers(t *testing.T) {
	for in, want := range map[string]string{
		"change@/devices/virtual/thermal/thermal_zone0\x00ACTION=change\x00SUBSYSTEM=thermal\x00": "thermal change /devices/virtual/thermal/thermal_zone0",
		"add@/devices/x\x00SUBSYSTEM=queues\x00":                                                  "",
		"libudev\x00\xfe\xed\xca\xfe":                                                             "",
	} {
		if got, _ := parseUevent([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"4,812,5000,-;CPU1: Package temperature is above threshold, cpu clock is throttled (total events = 3)\n SUBSYSTEM=cpu\n": "CPU1: Package temperature is above threshold, cpu clock is throttled (total events = 3)",
		"6,1,2,-;usb 1-1: new device\n": "",
		"thermal":                       "",
	} {
		if got, _ := parseRecord([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzHint(f *testing.F) {
	f.Add([]byte("change@/x\x00SUBSYSTEM=thermal\x00"))
	f.Add([]byte("4,1,1,-;overheat \x1b[2J"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (string, bool){parseUevent, parseRecord} {
			if text, _ := parse(b); len(text) > 300 || strings.ContainsAny(text, "\x00\x1b\n") {
				t.Fatalf("%q", text)
			}
		}
	})
}
