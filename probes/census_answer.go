package probes

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// answer is what the kernel said to a question.
type answer uint8

const (
	unclear answer = iota // neither yes nor no
	yes
	no
)

func (a answer) String() string {
	switch a {
	case yes:
		return "yes"
	case no:
		return "no"
	}
	return "could not tell"
}

// told is an answer with the kernel's own words for it.
type told struct {
	answer answer
	line   string
}

// enotsupp is the kernel-internal ENOTSUPP, which leaks through bpf(2).
const enotsupp = unix.Errno(524)

// maxLine bounds a line of evidence.
const maxLine = 200

// answerHelper reads the kernel's answer to a program that calls helper id as
// its first instruction with whatever the registers hold, and then reads R1, which
// a call leaves unreadable. Such a program is always refused, and the line says
// whether it was the helper that was refused, its arguments, or R1 after a call
// that was in order. The latter two come after the helper was looked up, and are a
// yes; a line that says none of it is no answer. Nothing is ever loaded, so
// nothing is translated to machine code or written to the audit log.
func answerHelper(errno unix.Errno, log string, id int) told {
	line := complaint(errno, log)
	t := told{line: line}
	switch {
	case errno == 0:
		t.answer = yes
	case refusesHelper(line, id):
		t.answer = no
	case refusesArguments(errno, line), needsSleeping(line):
		t.answer = yes
	}
	return t
}

// refusesHelper reports whether line refuses helper id as such. The texts are of
// check_helper_call in kernel/bpf/verifier.c: "invalid func" is an id that the
// kernel does not know, the others are one that the program type does not have;
// newer kernels say "program of this type cannot use helper". Before 4.10 there is
// the number only; since, it follows the name and "#".
func refusesHelper(line string, id int) bool {
	text, ok := refusal(line)
	if !ok {
		return false
	}
	rest := line[len(text):]
	number := strings.IndexFunc(rest, func(r rune) bool { return r == '#' || r == ' ' })
	digits, _, _ := strings.Cut(rest[number+1:], " ")
	n, err := strconv.Atoi(digits)
	return err == nil && n == id
}

// refusal is the beginning of line that makes it a refusal of a helper.
func refusal(line string) (string, bool) {
	for _, text := range [...]string{"program of this type cannot use helper ", "unknown func ", "invalid func "} {
		if strings.HasPrefix(line, text) {
			return text, true
		}
	}
	// The checks of single helpers in check_helper_call, as check_get_func_ip.
	if strings.HasPrefix(line, "func ") && (strings.Contains(line, " not supported for program type") || strings.Contains(line, " supported only for ")) {
		return "func ", true
	}
	return "", false
}

// refusesArguments reports whether line is about what the helper was given. With
// EACCES any complaint about a register or argument is; with another error only
// the two texts that check_func_arg itself gives are certain.
func refusesArguments(errno unix.Errno, line string) bool {
	var about string
	if rest, ok := strings.CutPrefix(line, "R"); ok {
		digits := strings.TrimLeft(rest, "0123456789")
		if len(digits) < len(rest) {
			about, _ = strings.CutPrefix(digits, " ")
		}
	}
	switch {
	case strings.HasPrefix(about, "!read_ok"):
		return true
	case strings.HasPrefix(about, "type=") && strings.Contains(about, " expected="):
		return true
	case errno != unix.EACCES:
		return false
	}
	return about != "" || strings.HasPrefix(line, "arg#") || strings.HasPrefix(line, "invalid indirect ") || strings.HasPrefix(line, "invalid access to ")
}

// needsSleeping reports whether line refuses a helper that the type has, but in
// sleepable programs only.
func needsSleeping(line string) bool {
	return strings.HasPrefix(line, "helper call might sleep in a non-sleepable prog") || strings.HasPrefix(line, "sleepable helper ")
}

// answerProgram reads the kernel's answer to a program that is right in every
// other respect: when the verifier refuses it, or the kernel finds the load
// itself invalid, the feature that it uses is not there.
func answerProgram(errno unix.Errno, log string) told {
	t := told{line: complaint(errno, log)}
	switch errno {
	case 0:
		t.answer = yes
	case unix.EINVAL, unix.E2BIG, unix.EACCES, enotsupp, unix.EOPNOTSUPP:
		// EACCES without a word from the verifier is a security module's.
		if errno != unix.EACCES || log != "" {
			t.answer = no
		}
	}
	return t
}

// answerErrno reads the answer to a call that keeps no log. EINVAL is an unknown
// command or type, E2BIG an attribute longer than the kernel's.
func answerErrno(errno unix.Errno) told { return answerProgram(errno, "") }

// complaint is the line of the log that says why the program was refused: the
// last that is neither a statistic nor the trace of an instruction. Where there
// is none it is the error's name.
func complaint(errno unix.Errno, log string) string {
	if errno == 0 {
		return "accepted"
	}
	rest, line := strings.TrimRight(log, "\n"), ""
	for rest != "" {
		at := strings.LastIndexByte(rest, '\n')
		line, rest = strings.TrimSpace(rest[at+1:]), rest[:max(at, 0)]
		if line != "" && !accounting(line) {
			return clipLine(line)
		}
	}
	return errnoText(errno)
}

// accounting reports whether line is a statistic or tells of an instruction or a
// source line, not of the refusal. The verifier ends every log with statistics,
// more of them on newer kernels.
func accounting(line string) bool {
	for _, p := range []string{"processed ", "verification time ", "stack depth ", "insns processed ", "subprog ", ";", "func#"} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	n := strings.IndexFunc(line, func(r rune) bool { return r < '0' || r > '9' })
	return n > 0 && line[n] == ':'
}

func clipLine(line string) string {
	line = strings.ToValidUTF8(line, "?")
	if len(line) <= maxLine {
		return line
	}
	return strings.ToValidUTF8(line[:maxLine], "") + "…"
}

func errnoText(errno unix.Errno) string {
	if errno == enotsupp {
		return "ENOTSUPP: operation is not supported"
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name + ": " + errno.Error()
	}
	return errno.Error()
}
