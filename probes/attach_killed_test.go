package probes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"lastgood/internal/snapshot"
)

// hold attaches to an interface and to a cgroup, says so and waits to be killed.
func hold() error {
	r := newRig(attachCases)
	lab, err := r.net()
	if err != nil {
		return err
	}
	lab.Do(func() {
		t := &trial{ctx: context.Background(), rig: r, s: &snapshot.Subject{}}
		if err = holdInNet(t); err == nil {
			err = holdInCgroup(t)
		}
	})
	var lack *lackError
	if err != nil && !errors.As(err, &lack) {
		return err
	}
	fmt.Println("held")
	select {}
}

func holdInNet(t *trial) error {
	p, err := t.rig.openVeth()
	if err != nil {
		return err
	}
	f := skbFlavour(0)
	prog, _, err := t.load(f.program(), nil)
	if err != nil {
		return err
	}
	if _, err := t.clsact(prog, p.near.B.Index, false); err != nil {
		return err
	}
	return t.passAt(p.far.B.Index)
}

func holdInCgroup(t *trial) error {
	room, err := t.rig.room()
	if err != nil {
		return err
	}
	prog, _, err := t.load(counting(ebpf.CGroupDevice, ebpf.AttachCGroupDevice, nil, deny()), nil)
	if err != nil {
		return err
	}
	_, err = t.link(prog, room.cgroup.FD(), ebpf.AttachCGroupDevice, 0)
	return err
}

// TestKilledWhileAttached: whoever is killed leaves nothing.
func TestKilledWhileAttached(t *testing.T) {
	needLab(t)
	state := hostState(t)
	for range 3 {
		cmd := exec.Command("/proc/self/exe", holdCommand)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 5)
		if _, err := out.Read(line); err != nil || string(line) != "held\n" {
			t.Fatalf("nothing is attached: %q, %v", line, err)
		}
		during := hostState(t)
		if len(during["programs"]) <= len(state["programs"]) || !slices.Equal(during["interfaces"], state["interfaces"]) {
			t.Errorf("while it holds: %d programs (%d before), interfaces %v", len(during["programs"]), len(state["programs"]), during["interfaces"])
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed, and says so
		waitFor(t, state)
	}
}
