package collect

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lastgood/internal/sysfs"
	"lastgood/loader"
)

// trivial is "r0 = 0; exit": what every kernel with BPF accepts from whoever may
// load programs at all.
var trivial = []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}

// socketFilter is BPF_PROG_TYPE_SOCKET_FILTER, which needs the least privilege.
const socketFilter = 1

// refused says in a sentence why this process may load nothing, or nothing that
// could be compared, or "" where all is well. A seccomp filter, a missing
// capability or a container looks like a kernel regression and is not one.
func refused(ctx context.Context, root *sysfs.Root) string {
	c := readContext(ctx, root)
	if why := c.lacks(); why != "" {
		return why
	}
	errno, _ := loader.NewTrier().Prog(loader.TryProg{Type: socketFilter, Insns: trivial})
	if errno == 0 {
		return ""
	}
	return c.explain(errno)
}

// processContext is what may stand between this process and bpf(2).
type processContext struct {
	caps      uint64
	known     bool // the capabilities could be read
	seccomp   bool // a seccomp filter is active
	userNS    bool // root here is not root of the host
	lockdown  string
	container string
}

func readContext(ctx context.Context, root *sysfs.Root) processContext {
	var c processContext
	if b, err := root.Bytes(ctx, 64<<10, "/proc/self/status"); err == nil {
		c.parseStatus(string(b))
	}
	if m, err := root.Attr(ctx, "/proc/self/uid_map"); err == nil {
		c.userNS = strings.Join(strings.Fields(m), " ") != "0 0 4294967295"
	}
	c.lockdown, _ = root.Attr(ctx, "/sys/kernel/security/lockdown")
	c.container, _ = root.Attr(ctx, "/run/systemd/container")
	return c
}

// parseStatus reads the lines CapEff and Seccomp of /proc/PID/status.
func (c *processContext) parseStatus(status string) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "CapEff":
			n, err := strconv.ParseUint(value, 16, 64)
			c.caps, c.known = n, err == nil
		case "Seccomp":
			c.seccomp = value == "2" // SECCOMP_MODE_FILTER
		}
	}
}

func (c *processContext) has(capability uint) bool { return c.caps&(1<<capability) != 0 }

// lacks says which capability is missing. CAP_PERFMON matters even where the
// kernel would load without it: the verifier then hides pointers and explores
// other paths, so its counters cannot be compared with root's.
func (c *processContext) lacks() string {
	if !c.known || c.has(unix.CAP_SYS_ADMIN) {
		return ""
	}
	var missing []string
	for _, need := range []struct {
		bit  uint
		name string
	}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}} {
		if !c.has(need.bit) {
			missing = append(missing, need.name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "loading BPF programs needs root: this process lacks " + strings.Join(missing, ", ")
}

// explain says what most likely made the kernel refuse a program that needs nothing.
func (c *processContext) explain(errno unix.Errno) string {
	what := fmt.Sprintf("the kernel refuses even an empty BPF program (%v)", errno)
	switch {
	case errno == unix.ENOMEM:
		return what + ": out of memory"
	case c.seccomp:
		return what + ": a seccomp filter is active, as in a container without the bpf system call"
	case errno == unix.ENOSYS:
		return what + ": it was built without the bpf system call (CONFIG_BPF_SYSCALL)"
	case c.userNS:
		return what + ": root here is root of a user namespace only"
	case c.container != "":
		return what + ": running inside a container (" + c.container + ")"
	case strings.Contains(c.lockdown, "[confidentiality]"):
		return what + ": kernel lockdown is set to confidentiality"
	}
	return what + ": a security module may forbid it"
}
