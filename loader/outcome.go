package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// enotsupp is the kernel's internal ENOTSUPP, which has leaked into the ABI.
const enotsupp = unix.Errno(524)

// longestOld is BPF_MAXINSNS: no kernel refuses a shorter program for its length.
const longestOld = 4096

// outcome is what a load left behind, before it is judged.
type outcome struct {
	errno    unix.Errno
	log      string
	insns    int // slots handed over
	seconds  float64
	deadline error  // why the context ended, nil if it did not
	linkErr  error  // the library could not link
	note     string // stands for a log that was lost
}

// measurement judges the outcome by phase and text; the errno only decides where
// there is no text, because the same limit has had different ones.
func (o outcome) measurement() Measurement {
	if o.linkErr != nil {
		return linkFailure(o.linkErr)
	}
	parsed := ParseLog(o.log)
	m := Measurement{
		Phase: PhaseVerify, Errno: o.errno, LogTail: logTail(o.log), Unknown: parsed.Unknown,
		Stats: parsed.Stats, LoadSeconds: o.seconds, InsnCount: o.insns,
	}
	if o.errno == 0 {
		m.Verdict, m.Phase = Accepted, PhaseInfo
		return m
	}
	m.Cause = parsed.Cause
	if why, reason := o.inconclusive(parsed); why != "" {
		m.Inconclusive, m.Reason = why, reason
		return m
	}
	m.Verdict = Rejected
	m.Reason = o.reason(parsed)
	if m.Cause == "" {
		m.Cause = o.note
	}
	if o.errno == enotsupp {
		m.Phase = PhaseJIT
	}
	if m.Reason == ReasonHelper && lockedDown(m.Cause, readLockdown()) {
		m.Reason = ReasonLockdown
	}
	return m
}

// inconclusive says why the outcome tells nothing about the program, "" if it does.
func (o outcome) inconclusive(p Parsed) (string, Reason) {
	switch o.errno {
	case unix.EAGAIN, unix.EINTR:
		if o.deadline != nil {
			return "stopped during verification: " + o.deadline.Error(), ReasonInterrupted
		}
		return "verification was interrupted by a signal", ReasonInterrupted
	case unix.ENOMEM:
		return "the kernel had no memory for the program", ReasonMemory
	case unix.EMFILE, unix.ENFILE:
		return fmt.Sprintf("no descriptor for the program: %v", o.errno), ReasonMemory
	case unix.ENOSYS:
		return "there is no bpf() system call here: a kernel without BPF, or a seccomp filter", ReasonPermission
	case unix.EPERM, unix.EACCES:
		// The verifier always says why. A missing capability, a security module
		// or a seccomp filter says nothing.
		if p.Cause == "" {
			return fmt.Sprintf("not permitted to load programs: %v", o.errno), ReasonPermission
		}
	case unix.ENOSPC:
		// Takes the place of the verdict's own errno.
		if p.Reason == "" {
			return "the verifier's log did not fit its buffer", ReasonUnknown
		}
	}
	if p.Reason == ReasonPermission {
		return "privilege is missing: " + p.Cause, ReasonPermission
	}
	return "", ""
}

// reason classes a rejection.
func (o outcome) reason(p Parsed) Reason {
	switch {
	case p.Reason != "":
		return p.Reason
	case p.Cause != "":
		return ReasonUnknown
	case o.errno == enotsupp:
		return ReasonJIT
	case p.Stats.InsnsProcessed.Set:
		return ReasonUnknown // refused without a word after verification
	case o.errno == unix.E2BIG && o.insns > longestOld:
		return ReasonTooLong
	case o.errno == unix.EINVAL && o.note == "":
		return ReasonUnsupported // refused before verification
	}
	return ReasonUnknown
}

// linkFailure is the Measurement of a program that did not get as far as the load.
func linkFailure(err error) Measurement {
	m := Measurement{Phase: PhaseOpen, Reason: ReasonUnknown, Cause: err.Error()}
	var link *linkError
	if errors.As(err, &link) {
		m.Phase, m.Reason = link.phase, link.reason
	}
	if !errors.As(err, &m.Errno) {
		m.Errno = 0
	}
	switch {
	case link == nil || link.ours:
		m.Inconclusive = "not loaded: " + err.Error()
	case m.Errno == unix.EPERM || m.Errno == unix.EACCES:
		m.Inconclusive, m.Reason = "not permitted: "+err.Error(), ReasonPermission
	case m.Errno == unix.ENOMEM || m.Errno == unix.EMFILE || m.Errno == unix.ENFILE:
		m.Inconclusive, m.Reason = "out of resources: "+err.Error(), ReasonMemory
	default:
		m.Verdict = Rejected
	}
	return m
}

// lockdownHelpers are the helpers that kernel lockdown withholds: reading kernel
// memory under confidentiality (9d1f8be5cf42), writing user memory under
// integrity (51e1bb9eeaf7). The verifier words it as if they did not exist.
var lockdownHelpers = map[string][]string{
	"confidentiality": {"bpf_probe_read", "bpf_probe_write_user"},
	"integrity":       {"bpf_probe_write_user"},
}

func lockedDown(cause, mode string) bool {
	for _, helper := range lockdownHelpers[mode] {
		if strings.Contains(cause, helper) {
			return true
		}
	}
	return false
}

// readLockdown returns the mode in force, "" when it cannot be told; then a
// rejected helper stays a rejected helper.
func readLockdown() string {
	data, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	return parseLockdown(string(data))
}

// parseLockdown finds the chosen one in `none [integrity] confidentiality`.
func parseLockdown(s string) string {
	_, s, ok := strings.Cut(s, "[")
	mode, _, ok2 := strings.Cut(s, "]")
	if !ok || !ok2 {
		return ""
	}
	return mode
}
