package probes

import (
	"slices"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"lastgood/loader"
)

// plainHelpers are helpers that take nothing or one number, and that most program
// types have. Calls of them cannot be refused for their arguments, so many fit into
// one program, and one load answers for all. It spares one load in thirteen; what
// is answered is the same as when each is asked alone.
var plainHelpers = []string{
	"bpf_ktime_get_ns", "bpf_get_prandom_u32", "bpf_get_smp_processor_id", "bpf_get_current_pid_tgid", "bpf_get_current_uid_gid",
	"bpf_get_cgroup_classid", "bpf_get_current_task", "bpf_get_numa_node_id", "bpf_get_current_cgroup_id", "bpf_send_signal",
	"bpf_send_signal_thread", "bpf_jiffies64", "bpf_get_current_ancestor_cgroup_id", "bpf_ktime_get_boot_ns",
	"bpf_get_current_task_btf", "bpf_ktime_get_coarse_ns", "bpf_ktime_get_tai_ns",
}

// askPlain asks for the plain helpers that the kernel knows, all at once, and takes
// out the one that is refused until the rest is in order. What it returns has an
// answer for each that could be told in this way; the others are to be asked alone.
func (c *censor) askPlain(try loader.TryProg) map[int]told {
	said := map[int]told{}
	var ids []int
	for id := 1; id <= min(c.lastHelper(), len(helperNames)); id++ {
		if slices.Contains(plainHelpers, helperNames[id-1]) {
			ids = append(ids, id)
		}
	}
	for len(ids) > 0 {
		b := newBurst(try, callInOrder(ids), c.logLevel())
		errno, log := b.load()
		b.close()
		line := c.phrases.of(complaint(errno, log)).line
		refused := slices.IndexFunc(ids, func(id int) bool { return refusesHelper(line, id) })
		switch {
		case refused >= 0:
			said[ids[refused]] = told{no, line}
			ids = slices.Delete(ids, refused, refused+1)
		case errno == unix.EACCES && line == "R1 !read_ok":
			// Only the read behind all calls can be refused so: R1 is set before each.
			for _, id := range ids {
				said[id] = told{yes, line}
			}
			return said
		default:
			return said
		}
	}
	return said
}

// callInOrder is a program that calls the helpers one after the other, each with
// the context in R1, and at the end reads R1, which the last call left unreadable.
// Like answerHelper's it is always refused.
func callInOrder(ids []int) []byte {
	insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for _, id := range ids {
		insns = append(insns, asm.Mov.Reg(asm.R1, asm.R6), asm.BuiltinFunc(id).Call())
	}
	return mustEncode(append(insns, asm.Mov.Reg(asm.R0, asm.R1), asm.Return())...)
}
