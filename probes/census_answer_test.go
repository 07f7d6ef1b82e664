package probes

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const statsTail = "verification time 4 usec\nstack depth 0\nprocessed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"

func TestAnswerHelper(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errno unix.Errno
		log   string
		id    int
		want  answer
		line  string
	}{
		{"accepted", 0, statsTail, 5, yes, "accepted"},
		{"call in order, then R1", unix.EACCES, "R1 !read_ok\n" + statsTail, 5, yes, "R1 !read_ok"},
		{"argument missing", unix.EACCES, "0: R1=ctx() R10=fp0\n0: (85) call bpf_redirect#23\nR2 !read_ok\n" + statsTail, 23, yes, "R2 !read_ok"},
		{"argument of a wrong type", unix.EACCES, "R1 type=ctx expected=map_ptr\n" + statsTail, 1, yes, "R1 type=ctx expected=map_ptr"},
		{"wrong type with EINVAL", unix.EINVAL, "R1 type=ctx expected=fp, dynptr_ptr\n" + statsTail, 197, yes, "R1 type=ctx expected=fp, dynptr_ptr"},
		{"wrong type before 5.10", unix.EACCES, "0: (85) call bpf_map_lookup_elem#1\nR1 type=ctx expected=map_ptr\nprocessed 1 insns (limit 1000000)\n", 1, yes, "R1 type=ctx expected=map_ptr"},
		{"sleepable only", unix.EINVAL, "helper call might sleep in a non-sleepable prog\n" + statsTail, 148, yes, "helper call might sleep in a non-sleepable prog"},
		{"sleepable only, newer", unix.EINVAL, "sleepable helper bpf_copy_from_user#148 in non-sleepable context\n" + statsTail, 148, yes, "sleepable helper bpf_copy_from_user#148 in non-sleepable context"},
		{"not of this type", unix.EINVAL, "program of this type cannot use helper bpf_xdp_adjust_head#44\n" + statsTail, 44, no, "program of this type cannot use helper bpf_xdp_adjust_head#44"},
		{"lockdown", unix.EINVAL, "0: R1=ctx() R10=fp0\n0: (85) call bpf_probe_read#4\nprogram of this type cannot use helper bpf_probe_read#4\n" + statsTail, 4, no, "program of this type cannot use helper bpf_probe_read#4"},
		{"not of this type on older kernels", unix.EINVAL, "unknown func bpf_xdp_adjust_head#44\nprocessed 1 insns (limit 1000000) max_states_per_insn 0\n", 44, no, "unknown func bpf_xdp_adjust_head#44"},
		{"not of this type in 4.9", unix.EINVAL, "0: (85) call 44\nunknown func 44\n", 44, no, "unknown func 44"},
		{"no such helper", unix.EINVAL, "invalid func unknown#212\n" + statsTail, 212, no, "invalid func unknown#212"},
		{"by a check of the helper's own", 524, "func bpf_get_func_ip#173 not supported for program type 5\n" + statsTail, 173, no, "func bpf_get_func_ip#173 not supported for program type 5"},
		{"by a check of the helper's own, tracing", unix.EINVAL, "func bpf_get_func_ip#173 supported only for fentry/fexit/fmod_ret programs\n" + statsTail, 173, no, "func bpf_get_func_ip#173 supported only for fentry/fexit/fmod_ret programs"},
		{"another helper refused", unix.EINVAL, "program of this type cannot use helper bpf_xdp_adjust_head#44\n", 4, unclear, "program of this type cannot use helper bpf_xdp_adjust_head#44"},
		// What 7.2 says of bpf_set_retval since b1f7f67b74c2: a loader's probe could not read it.
		{"new check of an argument", unix.EINVAL, "R1 is not a scalar\n" + statsTail, 187, unclear, "R1 is not a scalar"},
		{"depends on the target", unix.EINVAL, "helper call is not allowed in probe\n" + statsTail, 147, unclear, "helper call is not allowed in probe"},
		{"fault of the kernel", unix.EFAULT, "kernel subsystem misconfigured func bpf_x#7\n", 7, unclear, "kernel subsystem misconfigured func bpf_x#7"},
		{"newest statistics", unix.EACCES, "R2 !read_ok\nstack depth max 0\nsubprog 0 (main) main insns_self 1 insns_total 1 stack 0\ninsns processed 1+0\nprocessed 1 insns (limit 1000000)\n", 23, yes, "R2 !read_ok"},
		{"no privilege", unix.EPERM, "", 5, unclear, "EPERM: operation not permitted"},
		{"security module", unix.EACCES, "", 5, unclear, "EACCES: permission denied"},
		{"no memory", unix.ENOMEM, "", 5, unclear, "ENOMEM: cannot allocate memory"},
		{"nothing said", unix.EINVAL, "", 5, unclear, "EINVAL: invalid argument"},
		{"interrupted", unix.EAGAIN, statsTail, 5, unclear, "EAGAIN: resource temporarily unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := answerHelper(tt.errno, tt.log, tt.id); got != (told{tt.want, tt.line}) {
				t.Errorf("got %v %q, want %v %q", got.answer, got.line, tt.want, tt.line)
			}
		})
	}
}

func TestAnswerProgram(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errno unix.Errno
		log   string
		want  answer
	}{
		{"accepted", 0, statsTail, yes},
		{"unknown opcode", unix.EINVAL, "unknown opcode e5\n", no},
		{"too long for the kernel", unix.E2BIG, "", no},
		{"back-edge", unix.EINVAL, "back-edge from insn 2 to 1\n", no},
		{"not translated", enotsupp, "", no},
		{"refused by the verifier", unix.EACCES, "R0 invalid mem access 'scalar'\n", no},
		{"security module", unix.EACCES, "", unclear},
		{"no privilege", unix.EPERM, "", unclear},
		{"log too small", unix.ENOSPC, "0: (b7) r0 = 0\n", unclear},
		{"no memory", unix.ENOMEM, "", unclear},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := answerProgram(tt.errno, tt.log); got.answer != tt.want || got.line == "" {
				t.Errorf("got %v %q, want %v", got.answer, got.line, tt.want)
			}
		})
	}
}

func FuzzAnswerHelper(f *testing.F) {
	for _, log := range []string{"", statsTail, "R1 !read_ok\n" + statsTail, "R1 is not a scalar\n", "unknown func 44\n", "invalid func unknown#212",
		"program of this type cannot use helper", "func \n", "R", "R1", "0:\n", ";\n\n", strings.Repeat("x", 3*maxLine), "\xff\n"} {
		f.Add(uint32(unix.EINVAL), log, 44)
		f.Add(uint32(unix.EACCES), log, 44)
	}
	f.Fuzz(func(t *testing.T, errno uint32, log string, id int) {
		got := answerHelper(unix.Errno(errno), log, id)
		if got.line == "" || len(got.line) > maxLine+4*len("…") || !utf8.ValidString(got.line) || strings.Contains(got.line, "\n") {
			t.Errorf("evidence %q is empty, too long, broken or more than a line", got.line)
		}
		if errno != 0 && strings.TrimSpace(log) == "" && got.answer != unclear {
			t.Errorf("error %d without a word was taken for %v", errno, got.answer)
		}
		if g := generic(got.line); g == "" || generic(g) != g {
			t.Errorf("%q became %q, then %q", got.line, g, generic(g))
		}
		if p := answerProgram(unix.Errno(errno), log); p.answer == yes && errno != 0 {
			t.Errorf("error %d was taken for yes", errno)
		}
	})
}
