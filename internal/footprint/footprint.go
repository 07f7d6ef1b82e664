// Package footprint keeps small what a process holds in memory between its pieces of work. lastgood runs on hosts whose
// memory is somebody else's.
package footprint

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives back memory that nothing uses, and what of the program's own file is in memory: its instructions and
// constants, which come again from the page cache as they are needed. Work that is done once takes other parts of the
// program than what follows it, and most of what is resident would else be of the former. It takes some milliseconds.
// What cannot be told, as where /proc is hidden, stays.
func Trim() {
	debug.FreeOSMemory()
	dropText()
}

func dropText() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		if at, length, ok := textMapping(line, exe); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, at, length, unix.MADV_DONTNEED) // a kernel that refuses keeps it
		}
	}
}

// textMapping is where a line of /proc/PID/maps maps a file that cannot be written there (proc_pid_maps(5)).
func textMapping(line, file string) (at, length uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || strings.Join(f[5:], " ") != file || strings.Contains(f[1], "w") || !strings.HasSuffix(f[1], "p") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	start, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	end, err := strconv.ParseUint(to, 16, 64)
	if err != nil || end <= start {
		return 0, 0, false
	}
	return uintptr(start), uintptr(end - start), true
}
