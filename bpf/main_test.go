package bpf

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// TestMain fails the run when a test left a file descriptor open.
func TestMain(m *testing.M) {
	before := descriptors()
	code := m.Run()
	for fd, target := range descriptors() {
		// The runtime's poller is opened on first use and stays.
		if _, ok := before[fd]; ok || strings.HasPrefix(target, "anon_inode:[event") {
			continue
		}
		fmt.Fprintf(os.Stderr, "file descriptor left open: %s -> %s\n", fd, target)
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

// needBPF skips a test on a host where a classifier cannot be loaded, and fails it
// where LASTGOOD_REQUIRE says it must.
func needBPF(tb testing.TB) {
	tb.Helper()
	// Before 5.11 maps count against the limit on locked memory.
	if err := rlimit.RemoveMemlock(); err != nil {
		tb.Logf("limit on locked memory stays: %v", err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		License:      "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err == nil {
		prog.Close()
		return
	}
	if strings.Contains(os.Getenv("LASTGOOD_REQUIRE"), "bpf") {
		tb.Fatalf("this host does not load BPF programs: %v", err)
	}
	tb.Skipf("this host does not load BPF programs: %v", err)
}

// eachSize runs f once for every size of the datapath from least on, with maps of
// its own.
func eachSize(t *testing.T, least string, f func(t *testing.T, d *datapath)) {
	t.Helper()
	needBPF(t)
	reached := false
	for _, size := range Datapaths() {
		if reached = reached || size.Name == least; !reached {
			continue
		}
		t.Run(size.Name, func(t *testing.T) { f(t, newDatapath(t, size)) })
	}
}
