package probes

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/source"
)

// owners are the processes that hold programs.
type owners struct {
	of  map[uint32][]string // program id → names of processes, sorted
	why string              // why some may be missing, "" where all were looked at
}

// Bounds on looking for owners, which only explains: a node with ten thousand
// descriptors takes some 30 ms, one with a million is not looked through.
const (
	ownerTime = 30 * time.Millisecond
	maxFDs    = 4096 // of one process
)

// findOwners looks which processes hold a descriptor of a program or of a link, through
// /proc/PID/fd. Processes that end meanwhile have nothing more to tell.
func findOwners(ctx context.Context, h source.Host) owners {
	out := owners{of: map[uint32][]string{}}
	pids, err := h.Root.List(ctx, "/proc")
	if err != nil {
		out.why = err.Error()
		return out
	}
	start := h.Now()
	seen := map[uint32]map[string]bool{}
	for _, pid := range pids {
		if _, err := strconv.ParseUint(pid, 10, 32); err != nil {
			continue
		}
		fds, err := h.Root.List(ctx, "/proc", pid, "fd")
		if err != nil {
			continue // gone, or of a security domain of its own
		}
		comm := ""
		for i, fd := range fds {
			if i == maxFDs || h.Now().Sub(start) > ownerTime {
				out.why = fmt.Sprintf("not all descriptors of processes were looked at, to keep within %v and %d each", ownerTime, maxFDs)
				break
			}
			id, ok := heldProgram(ctx, h, pid, fd)
			if !ok {
				continue
			}
			if comm == "" {
				comm, _ = h.Root.Attr(ctx, "/proc", pid, "comm")
			}
			if seen[id] == nil {
				seen[id] = map[string]bool{}
			}
			if comm != "" && !seen[id][comm] {
				seen[id][comm] = true
				out.of[id] = append(out.of[id], comm)
			}
		}
		if h.Now().Sub(start) > ownerTime {
			break
		}
	}
	for _, names := range out.of {
		slices.Sort(names)
	}
	return out
}

// heldProgram is the id of the program that a descriptor, or the link that it is of, holds.
func heldProgram(ctx context.Context, h source.Host, pid, fd string) (uint32, bool) {
	what, err := h.Root.Link(ctx, "/proc", pid, "fd", fd)
	if err != nil || !strings.HasPrefix(what, "anon_inode:bpf-prog") && !strings.HasPrefix(what, "anon_inode:bpf_link") {
		return 0, false
	}
	info, err := h.Root.Bytes(ctx, 4096, "/proc", pid, "fdinfo", fd)
	if err != nil {
		return 0, false
	}
	return programOf(info)
}

// programOf reads the line prog_id of a descriptor's info.
func programOf(fdinfo []byte) (uint32, bool) {
	for line := range bytes.Lines(fdinfo) {
		if value, ok := bytes.CutPrefix(line, []byte("prog_id:")); ok {
			id, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 32)
			return uint32(id), err == nil && id > 0
		}
	}
	return 0, false
}
