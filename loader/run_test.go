package loader

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// returning loads a packet classifier that returns n.
func returning(t *testing.T, n int32) *ebpf.Program {
	t.Helper()
	needBPF(t)
	prog, m := Load(context.Background(), Request{Spec: &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, n), asm.Return()}}})
	if prog == nil {
		t.Fatalf("%+v", m)
	}
	t.Cleanup(func() { prog.Close() })
	return prog
}

func TestTestRun(t *testing.T) {
	prog := returning(t, 7)
	packet := bytes.Repeat([]byte{0xab}, 64)
	ran, err := TestRun(context.Background(), prog, Run{Data: packet, Out: make([]byte, 128)})
	if err != nil || ran.Return != 7 || !bytes.Equal(ran.Out, packet) {
		t.Errorf("%+v %v, want a return value of 7 and the packet as it was", ran, err)
	}
	ran, err = TestRun(context.Background(), prog, Run{Data: packet, Repeat: 1000})
	if err != nil || ran.Return != 7 || ran.Out != nil {
		t.Errorf("%+v %v, want a return value of 7 and no packet", ran, err)
	}
}

// TestTestRunFails: what the kernel refuses is an error with its number.
func TestTestRunFails(t *testing.T) {
	prog := returning(t, 0)
	for name, test := range map[string]struct {
		run  Run
		want unix.Errno
	}{
		"no Ethernet header": {Run{Data: make([]byte, 13)}, unix.EINVAL},
		"no room":            {Run{Data: make([]byte, 64), Out: make([]byte, 16)}, unix.ENOSPC},
	} {
		if ran, err := TestRun(context.Background(), prog, test.run); !errors.Is(err, test.want) {
			t.Errorf("%s: %+v %v, want %v", name, ran, err, test.want)
		}
	}
}

// TestTestRunEnds: a run that is repeated for ever ends with its context.
func TestTestRunEnds(t *testing.T) {
	prog := returning(t, 0)
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer stop()
	start := time.Now()
	_, err := TestRun(ctx, prog, Run{Data: make([]byte, 64), Repeat: 1<<32 - 1})
	if took := time.Since(start); !errors.Is(err, unix.EINTR) || took > 10*time.Second {
		t.Errorf("%v after %v, want EINTR at once", err, took)
	}
}
