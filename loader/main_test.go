package loader

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestMain fails the run when a test left a file descriptor open: a leaked
// program or map would stay in the kernel for the life of a service.
func TestMain(m *testing.M) {
	before := descriptors()
	code := m.Run()
	if left := leaked(before, descriptors()); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "file descriptors left open: %s\n", strings.Join(left, ", "))
		code = max(code, 1)
	}
	os.Exit(code)
}

// descriptors returns what every open descriptor of this process points to.
func descriptors() map[string]string {
	out := make(map[string]string)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return out
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out[e.Name()] = target
		}
	}
	return out
}

func leaked(before, after map[string]string) (out []string) {
	for fd, target := range after {
		// The runtime's poller and os/signal's are opened on first use and stay.
		if _, ok := before[fd]; ok || strings.HasPrefix(target, "anon_inode:[event") {
			continue
		}
		out = append(out, fd+" -> "+target)
	}
	return out
}

// needBPF skips a test on a host where programs cannot be loaded, and fails it
// where LASTGOOD_REQUIRE says they must.
func needBPF(tb testing.TB) {
	tb.Helper()
	insns, err := EncodeInsns(returnZero())
	if err != nil {
		tb.Fatal(err)
	}
	errno, log := NewTrier().Prog(TryProg{Type: ebpf.SocketFilter, Insns: insns})
	if errno == 0 {
		return
	}
	reason := fmt.Sprintf("this host does not load BPF programs: %v %s", errno, log)
	if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
		tb.Fatal(reason)
	}
	tb.Skip(reason)
}

func encode(tb testing.TB, insns asm.Instructions) []byte {
	tb.Helper()
	out, err := EncodeInsns(insns)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func returnZero() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

// straight returns n instructions without a branch.
func straight(n int) asm.Instructions {
	insns := make(asm.Instructions, 0, n)
	for range n - 1 {
		insns = append(insns, asm.Mov.Imm(asm.R0, 0))
	}
	return append(insns, asm.Return())
}
