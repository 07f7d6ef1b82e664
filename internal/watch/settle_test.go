package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

func TestSettling(t *testing.T) {
	type step struct {
		at   time.Duration
		what string // an event's text, "queue", "idle", "closed" or "interrupt"
	}
	for name, test := range map[string]struct {
		deadline time.Duration
		steps    []step
		why      string // part of it; "" for settled
		waited   time.Duration
		events   int
	}{
		"nothing happens":        {time.Minute, nil, "", 10 * time.Second, 0},
		"a disk comes late":      {time.Minute, []step{{9 * time.Second, "sdb"}, {18 * time.Second, "sdc"}}, "", 28 * time.Second, 2},
		"one event after quiet":  {time.Minute, []step{{11 * time.Second, "sdb"}}, "", 10 * time.Second, 0},
		"it never ends":          {25 * time.Second, []step{{5 * time.Second, "a"}, {10 * time.Second, "b"}, {19 * time.Second, "c"}}, "3 times, at last c", 25 * time.Second, 3},
		"udev is at work":        {time.Minute, []step{{0, "queue"}, {12100 * time.Millisecond, "idle"}}, "", 12250 * time.Millisecond, 0},
		"udev hangs":             {30 * time.Second, []step{{0, "queue"}}, "udev has events in its queue", 30 * time.Second, 0},
		"event while udev works": {time.Minute, []step{{0, "queue"}, {11 * time.Second, "sdb"}, {15 * time.Second, "idle"}}, "", 21 * time.Second, 1},
		"deadline before quiet":  {3 * time.Second, nil, "shorter than", 3 * time.Second, 0},
		"events end":             {time.Minute, []step{{time.Second, "closed"}}, "no more", time.Second, 0},
		"interrupted":            {time.Minute, []step{{time.Second, "interrupt"}}, "interrupted", time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				events := make(chan string)
				var queue atomic.Bool
				go func() {
					from := time.Duration(0)
					for _, s := range test.steps {
						select { // by the bubble's clock
						case <-time.After(s.at - from):
						case <-ctx.Done():
							return
						}
						from = s.at
						switch s.what {
						case "queue", "idle":
							queue.Store(s.what == "queue")
						case "closed":
							close(events)
						case "interrupt":
							cancel()
						default:
							select {
							case events <- s.what:
							case <-ctx.Done():
							}
						}
					}
				}()
				got := Settling{Quiet: 10 * time.Second, Deadline: test.deadline, Events: events,
					Busy: func(context.Context) (bool, error) { return queue.Load(), nil }}.Wait(ctx)
				cancel()
				if (got.Why == "") != (test.why == "") || !strings.Contains(got.Why, test.why) || got.Events != test.events {
					t.Errorf("%+v, want %q and %d events", got, test.why, test.events)
				}
				if d := got.Waited - test.waited; d < 0 || d > 260*time.Millisecond {
					t.Errorf("waited %v, want %v", got.Waited, test.waited)
				}
				synctest.Wait()
			})
		})
	}
}

func TestSettlingCannotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := Settling{Quiet: time.Second, Deadline: time.Minute, Busy: func(context.Context) (bool, error) { return false, errors.New("input/output error") }}.Wait(t.Context())
		if !strings.Contains(got.Why, "input/output error") {
			t.Errorf("%+v", got)
		}
	})
}

func TestUdevQueue(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sys"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := sysfs.OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	if busy, err := udevBusy(root)(t.Context()); busy || err != nil {
		t.Errorf("no udev: %v, %v", busy, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "run/udev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run/udev/queue"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if root, err = sysfs.OpenTree(dir); err != nil {
		t.Fatal(err)
	}
	if busy, err := udevBusy(root)(t.Context()); !busy || err != nil {
		t.Errorf("a queue: %v, %v", busy, err)
	}
}

func uevent(fields ...string) []byte { return []byte(strings.Join(fields, "\x00") + "\x00") }

func TestDeviceEvent(t *testing.T) {
	for name, test := range map[string]struct {
		event []byte
		want  string
	}{
		"disk":               {uevent("add@/devices/pci0000:00/0000:00:05.0/ata1/block/sda", "ACTION=add", "SUBSYSTEM=block"), "block add /devices/pci0000:00/0000:00:05.0/ata1/block/sda"},
		"driver":             {uevent("bind@/devices/pci0000:00/0000:00:05.0", "SUBSYSTEM=pci"), "pci bind /devices/pci0000:00/0000:00:05.0"},
		"dm":                 {uevent("add@/devices/virtual/block/dm-0", "SUBSYSTEM=block"), "block add /devices/virtual/block/dm-0"},
		"battery":            {uevent("change@/devices/LNXSYSTM:00/PNP0C0A:00", "SUBSYSTEM=power_supply"), ""},
		"container":          {uevent("add@/devices/virtual/net/veth12", "SUBSYSTEM=net"), ""},
		"queue":              {uevent("add@/devices/pci0000:00/0000:00:03.0/net/eth0/queues/rx-0", "SUBSYSTEM=queues"), ""},
		"loop":               {uevent("add@/devices/virtual/block/loop3", "SUBSYSTEM=block"), ""},
		"module":             {uevent("add@/module/uas", "SUBSYSTEM=module"), ""},
		"cache":              {uevent("add@/kernel/slab/:A-0000128", "SUBSYSTEM=slab"), ""},
		"udev's own message": {[]byte("libudev\x00\xfe\xed\xca\xfe"), ""},
		"nothing":            {nil, ""},
		"hostile":            {uevent("add@/devices/\x1b[2J\r\nx", "SUBSYSTEM=\x07usb"), "usb add /devices/[2Jx"},
	} {
		got, ok := deviceEvent(test.event)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func FuzzDeviceEvent(f *testing.F) {
	f.Add(uevent("add@/devices/x/block/sda", "SUBSYSTEM=block"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, ok := deviceEvent(b)
		if ok != (text != "") || len(text) > 300 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q, %v", text, ok)
		}
	})
}

// Only the kernel is believed: a process with CAP_NET_ADMIN may send to the group too.
func TestFromKernel(t *testing.T) {
	if !fromKernel(&unix.SockaddrNetlink{}) || fromKernel(&unix.SockaddrNetlink{Pid: 7}) || fromKernel(&unix.SockaddrInet4{}) {
		t.Error("the sender is not told")
	}
}

// On this host: it settles, or says what it was at, and keeps nothing open.
func TestSettleLive(t *testing.T) {
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := open()
	got, err := Settle(t.Context(), sysfs.Live(), 50*time.Millisecond, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got.Waited < 50*time.Millisecond || (got.Why == "") == (got.Waited >= 5*time.Second) {
		t.Errorf("%+v", got)
	}
	if after := open(); after != before {
		t.Errorf("%d files open, were %d", after, before)
	}
}
