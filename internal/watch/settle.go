package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
)

// Settling says what to wait for, and how long.
type Settling struct {
	Quiet    time.Duration // no device came or went for so long
	Deadline time.Duration // and this long the wait may take
	// Events tells of devices that come and go, a text each. It is closed where they can
	// be followed no more.
	Events <-chan string
	// Busy reports whether udev has events in its queue.
	Busy func(context.Context) (bool, error)
}

// Settled says how the wait ended.
type Settled struct {
	// Why is empty where the host settled, and else says what it was still at, or
	// why that cannot be told.
	Why    string
	Waited time.Duration
	Events int    // devices that came or went meanwhile
	Last   string // the last of them
}

// queuePoll is how often udev's queue is looked at, once no device came or went.
const queuePoll = 250 * time.Millisecond

// Wait returns when the host has settled, when the deadline is over or ctx is done.
// That takes the quiet time at least, for what was before nobody saw.
func (o Settling) Wait(ctx context.Context) Settled {
	var out Settled
	start := time.Now()
	quiet, deadline := time.NewTimer(o.Quiet), time.NewTimer(o.Deadline)
	defer quiet.Stop()
	defer deadline.Stop()
	end := func(why string) Settled {
		out.Why, out.Waited = why, time.Since(start)
		return out
	}
	busy := ""
	for {
		select {
		case <-ctx.Done():
			return end("the wait was interrupted")
		case <-deadline.C:
			return end(o.atDeadline(&out, busy))
		case text, ok := <-o.Events:
			if !ok {
				return end("the kernel's events can be followed no more")
			}
			out.Events, out.Last = out.Events+1, text
			quiet.Reset(o.Quiet)
		case <-quiet.C:
			queued, err := o.Busy(ctx)
			switch {
			case err != nil:
				return end("udev's queue cannot be looked at: " + err.Error())
			case !queued:
				return end("")
			}
			busy = "udev has events in its queue"
			quiet.Reset(min(queuePoll, o.Quiet))
		}
	}
}

// atDeadline says what a host that did not settle was still at.
func (o Settling) atDeadline(s *Settled, busy string) string {
	after := fmt.Sprintf(" after %v", o.Deadline)
	switch {
	case busy != "":
		return busy + after
	case s.Events > 0:
		return fmt.Sprintf("devices still came and went%s: %d times, at last %s", after, s.Events, s.Last)
	}
	return fmt.Sprintf("the deadline of %v is shorter than the %v in which nothing may happen", o.Deadline, o.Quiet)
}

// Settle waits for this host. The error says why that cannot be told at all.
func Settle(ctx context.Context, root *sysfs.Root, quiet, deadline time.Duration) (Settled, error) {
	fd, err := openUevents()
	if err != nil {
		return Settled{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	events, done := make(chan string), make(chan struct{})
	go func() {
		defer close(done)
		followDevices(ctx, fd, events)
	}()
	out := Settling{Quiet: quiet, Deadline: deadline, Events: events, Busy: udevBusy(root)}.Wait(ctx)
	cancel()
	<-done
	return out, nil
}

// udevQueue is there while systemd-udevd has events to handle (src/udev/udev-manager.c,
// src/udev/udevadm-settle.c). Without udev it never is.
const udevQueue = "/run/udev/queue"

func udevBusy(root *sysfs.Root) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		there, err := root.Exists(ctx, udevQueue)
		if sysfs.Absent(err) {
			return false, nil
		}
		return there, err
	}
}

// followDevices sends what comes and goes until ctx is done, and closes fd and the channel.
func followDevices(ctx context.Context, fd int, out chan<- string) {
	defer close(out)
	defer unix.Close(fd)
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, int(pollFor/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if poll[0].Revents == 0 {
			continue
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		text, counts := "", false
		switch {
		case errors.Is(err, unix.ENOBUFS):
			text, counts = "more events than could be followed", true
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return
		default:
			text, counts = deviceEvent(buf[:n])
			counts = counts && fromKernel(from)
		}
		if !counts {
			continue
		}
		select {
		case out <- text:
		case <-ctx.Done():
		}
	}
}

// fromKernel refuses what a process sent to the group: the kernel's port is 0.
func fromKernel(from unix.Sockaddr) bool {
	nl, ok := from.(*unix.SockaddrNetlink)
	return ok && nl.Pid == 0
}

// comings are the actions after which there are other devices than before, or other drivers
// at them (lib/kobject_uevent.c). "change" is sent by disks, batteries and screens all the time.
var comings = []string{"add", "remove", "move", "online", "offline", "bind", "unbind"}

// deviceEvent reads a uevent and reports whether a device came or went by it.
// Containers' interfaces, loop devices and what are no devices (modules, caches, queues)
// come and go on a busy host for ever and say nothing of its hardware.
func deviceEvent(b []byte) (string, bool) {
	head, rest, _ := bytes.Cut(b, []byte{0})
	action, path, ok := strings.Cut(string(head), "@")
	if !ok || !slices.Contains(comings, action) || !strings.HasPrefix(path, "/devices/") {
		return "", false
	}
	for _, p := range []string{"/devices/virtual/net/", "/devices/virtual/block/loop", "/devices/virtual/bdi/", "/devices/virtual/tty/",
		"/devices/virtual/vc/", "/devices/virtual/mem/", "/devices/virtual/misc/"} {
		if strings.HasPrefix(path, p) {
			return "", false
		}
	}
	subsystem := ""
	for field := range bytes.SplitSeq(rest, []byte{0}) {
		if v, found := bytes.CutPrefix(field, []byte("SUBSYSTEM=")); found {
			subsystem = string(v)
		}
	}
	if subsystem == "queues" || subsystem == "bdi" {
		return "", false
	}
	return printable(strings.TrimSpace(subsystem + " " + action + " " + path)), true
}
