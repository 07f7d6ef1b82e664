package loader

import "strings"

// reject is one entry of the table: a text in a line of the verifier's log and
// the class of rejections it stands for.
type reject struct {
	text   string
	reason Reason
}

// reasonOf returns the class of a log line, "" if the table does not know it. The
// first entry that matches wins, so the table runs from the special to the general.
func reasonOf(line string) Reason {
	for i := range rejects {
		if strings.Contains(line, rejects[i].text) {
			return rejects[i].reason
		}
	}
	return ""
}

// rejects holds texts of kernel/bpf/{verifier,btf,log,arena}.c of 4.14 to 7.x.
// Numbers and names in the kernel's formats are left out.
var rejects = []reject{
	// The verifier's own faults. Before 6.17 each place worded them differently.
	{"verifier bug", ReasonVerifierBug},
	{"verifier internal error", ReasonVerifierBug},
	{"verifier insn history bug", ReasonVerifierBug},
	{"verifier backtracking bug", ReasonVerifierBug},
	{"Verifier bug", ReasonVerifierBug},
	{"verifier BUG", ReasonVerifierBug},
	{"REG INVARIANTS VIOLATION", ReasonVerifierBug},
	{"bpf verifier is misconfigured", ReasonVerifierBug},
	{"kernel subsystem misconfigured", ReasonVerifierBug},
	{"out of sync with range bounds", ReasonVerifierBug},
	{"BUG backtracking", ReasonVerifierBug},
	{"BUG is_state_visited", ReasonVerifierBug},
	{"BUG update_branch_counts", ReasonVerifierBug},
	{"BUG subprog", ReasonVerifierBug},
	{"BUG live_done", ReasonVerifierBug},
	{"BUG: unhandled", ReasonVerifierBug},
	{"BUG: in callback", ReasonVerifierBug},

	// Complexity limits.
	{"BPF program is too large. Processed", ReasonTooComplex},
	{"jumps is too complex", ReasonJumpSequence},
	{"infinite loop detected", ReasonLoop},
	{"back-edge from insn", ReasonLoop},
	{"the call stack of", ReasonCallDepth},
	{"program needs too long", ReasonTooComplex},
	{"call stack is too deep", ReasonCallDepth},
	{"recursive call", ReasonCallDepth},

	// Stack size.
	{"combined stack size of", ReasonStack},
	{"stack size of subprog", ReasonStack},
	{"when call stack of previous frames is", ReasonStack},
	{"stack depth is too large", ReasonStack},
	{") is too large", ReasonStack}, // stack size %d(extra %d) is too large
	{"invalid write to stack", ReasonStack},
	{"invalid stack off", ReasonStack},
	{"invalid stack type", ReasonStack},

	// Functions.
	{"too many subprograms", ReasonSubprograms},
	{"tail_call is only allowed", ReasonSubprograms},
	{"doesn't return scalar", ReasonSubprograms},
	{"not a global function", ReasonSubprograms},
	{"invalid args into func#", ReasonSubprograms},
	{"function calls are not allowed while holding a lock", ReasonLock},
	{"number of funcs in func_info doesn't match", ReasonBTF},

	// Lack of privilege, and mitigations that only bind the unprivileged.
	{"allowed for CAP_", ReasonPermission},
	{"allowed for root only", ReasonPermission},
	{"CAP_BPF and CAP_PERFMON are required", ReasonPermission},
	{"allowed only to CAP_", ReasonPermission},
	{"require CAP_", ReasonPermission},
	{"prohibited for !root", ReasonPermission},
	{"speculative verification", ReasonPermission},

	// What a loader did not find, it poisons: 0xbad2310 is the mark of libbpf and
	// cilium/ebpf for a CO-RE relocation without a target.
	{"unknown#195896080", ReasonBTF},
	{"r10 = 0xbad2310", ReasonBTF},
	{"CONFIG_DEBUG_INFO_BTF", ReasonBTF},
	{"unknown#233685214", ReasonKfunc}, // 0xdedc0de, a kfunc cilium/ebpf did not find
	{"unknown#2002", ReasonKfunc},      // 2002000000 on, libbpf's mark of the same
	{"unknown#2001", ReasonMaps},       // 2001000000 on, libbpf's mark of a map that was not created

	// Hooks: what a program wants to attach to is not (or no longer) there.
	{"points to disabled hook", ReasonUnsupported},
	{"is not modifiable", ReasonUnsupported},
	{"__noreturn functions is rejected", ReasonUnsupported},
	{"return value is not supported for this attach type", ReasonUnsupported},
	{"Only FENTRY/FEXIT progs", ReasonUnsupported},
	{"Cannot replace", ReasonUnsupported},
	{"Can attach to only JITed", ReasonUnsupported},
	{"Cannot nest tracing program", ReasonUnsupported},
	{"programs can be sleepable", ReasonUnsupported},
	{"is not sleepable", ReasonUnsupported},
	{"not allowed for fmod_ret", ReasonUnsupported},
	{"attach to invalid member", ReasonUnsupported},
	{"attach to unsupported member", ReasonUnsupported},
	{"struct_ops module", ReasonUnsupported},
	{"must provide btf_id", ReasonUnsupported},
	{"The address of function", ReasonUnsupported},

	// The JIT.
	{"JIT does not support calling", ReasonJIT},
	{"JIT doesn't support", ReasonJIT},
	{"JIT is required", ReasonJIT},
	{"non-JITed programs", ReasonJIT},
	{"should be JITed", ReasonJIT},
	{"tail call poke descriptor", ReasonJIT},
	{"tracking tail call prog failed", ReasonJIT},

	// Kernel functions. Above the helpers, whose texts are more general.
	{"kernel btf_id", ReasonKfunc},
	{"kernel function", ReasonKfunc},
	{"kernel func ", ReasonKfunc},
	{"kfunc", ReasonKfunc},
	{"bpf_throw", ReasonKfunc},
	{"expected an initialized iter_", ReasonKfunc},
	{"expected uninitialized iter_", ReasonKfunc},
	{"expected valid iter", ReasonKfunc},
	{"too many different module BTFs", ReasonKfunc},

	// Type information. Below the kernel functions, whose texts often name a BTF id.
	{"incompatible with vmlinux", ReasonBTF},
	{"incompatible type ID", ReasonBTF},
	{"without BTF", ReasonBTF},
	{"kernel is missing BTF", ReasonBTF},
	{"missing btf", ReasonBTF},
	{"needs valid BTF", ReasonBTF},
	{"need valid BTF", ReasonBTF},
	{"invalid BTF", ReasonBTF},
	{"btf_id", ReasonBTF},
	{"func_info", ReasonBTF},
	{"func info", ReasonBTF},
	{"line_info", ReasonBTF},
	{"invalid type id", ReasonBTF},
	{"requires prog BTF", ReasonBTF},
	{"Program extension requires BTF", ReasonBTF},
	{"is not supported yet", ReasonBTF}, // argument types of global functions, to 5.11
	{"BTF of func#", ReasonBTF},
	{"doesn't point to KIND_FUNC", ReasonBTF},
	{"ldimm64", ReasonBTF},
	{"reference type('", ReasonBTF},
	{"Failed to find kernel BTF", ReasonBTF},
	{"doesn't have field at offset", ReasonBTF},
	{"access beyond struct", ReasonBTF},
	{"access beyond the end of member", ReasonBTF},
	{"Type tags", ReasonBTF},
	{"relo #", ReasonBTF},
	{"unrecognized bpf_ld_imm64", ReasonInstruction},

	// Locks, references and sections. Above the memory accesses for the same reason.
	{"Unreleased reference", ReasonLock},
	{"reference has not been acquired", ReasonLock},
	{"would lead to reference leak", ReasonLock},
	{"bpf_spin_lock", ReasonLock},
	{"bpf_spin_unlock", ReasonLock},
	{"spin_{lock,unlock}", ReasonLock},
	{"bpf_res_spin_lock", ReasonLock},
	{"bpf_rcu_read", ReasonLock},
	{"rcu_read_lock region", ReasonLock},
	{"rcu read", ReasonLock},
	{"preempt", ReasonLock},
	{"non-sleepable prog", ReasonLock},
	{"might sleep", ReasonLock},
	{"held lock", ReasonLock},
	{"IRQ flag", ReasonLock},
	{"local_irq", ReasonLock},
	{"cannot be used inside", ReasonLock},

	// Maps.
	{"maps per program has reached", ReasonMaps},
	{"is not pointing to valid bpf_map", ReasonMaps},
	{"cannot pass map_type", ReasonMaps},
	{"doesn't match map pointer in", ReasonMaps},
	{"isn't map pointer", ReasonMaps},
	{"map_ptr access", ReasonMaps},
	{"map '", ReasonMaps},
	{"no direct value access support for this map", ReasonMaps},
	{"direct value offset of", ReasonMaps},
	{"Sleepable programs can only use", ReasonMaps},
	{"only one cgroup storage", ReasonMaps},
	{"struct_ops map cannot be used", ReasonMaps},
	{"callback function not allowed for map", ReasonMaps},
	{"cannot update sockmap", ReasonMaps},

	// Helpers.
	{"cannot use helper", ReasonHelper},
	{"invalid func unknown#", ReasonHelper},
	{"invalid func ", ReasonHelper},
	{"unknown func ", ReasonHelper},
	{"GPL-restricted", ReasonHelper},
	{"GPL compatible license", ReasonHelper},
	{"from non-GPL compatible", ReasonHelper},
	{"helper call is not allowed", ReasonHelper},
	{"not supported for program type", ReasonHelper},
	{"supported only for", ReasonHelper},
	{"helper access to the packet", ReasonHelper},
	{"unknown return type", ReasonHelper},
	{"get_local_storage()", ReasonHelper},

	// Values whose bounds are not known, or no longer.
	{"unbounded memory access", ReasonPrecision},
	{"min value is negative", ReasonPrecision},
	{"max value is outside of the", ReasonPrecision},
	{"offset is outside of the packet", ReasonPrecision},
	{"unbounded min value", ReasonPrecision},
	{"unbounded variable-offset", ReasonPrecision},
	{"invalid variable-offset", ReasonPrecision},
	{"invalid variable buffer offset", ReasonPrecision},
	{"variable stack access", ReasonPrecision},
	{"variable offset", ReasonPrecision},
	{"is not a known value", ReasonPrecision},
	{"doesn't have constant offset", ReasonPrecision},
	{"mixed signed bounds", ReasonPrecision},
	{"pointer be out of bounds", ReasonPrecision},

	// Return values.
	{"At program exit the register", ReasonReturn},
	{"At subprogram exit the register", ReasonReturn},
	{"At async callback return", ReasonReturn},
	{"At callback return", ReasonReturn},
	{"At exception cb", ReasonReturn},
	{"leaks addr as return value", ReasonReturn},

	// Malformed code.
	{"unreachable insn", ReasonInstruction},
	{"jump out of range", ReasonInstruction},
	{"jump into the middle", ReasonInstruction},
	{"last insn is not an exit", ReasonInstruction},
	{"reserved fields", ReasonInstruction},
	{"invalid BPF_", ReasonInstruction},
	{"BPF_LD_[ABS|IND]", ReasonInstruction},
	{"unknown opcode", ReasonInstruction},
	{"unknown insn class", ReasonInstruction},
	{"invalid insn idx", ReasonInstruction},
	{"invalid may_goto", ReasonInstruction},
	{"invalid atomic opcode", ReasonInstruction},
	{"invalid bpf_ld_imm64", ReasonInstruction},
	{"invalid shift", ReasonInstruction},
	{"div by zero", ReasonInstruction},
	{"cannot be patched due to 16-bit range", ReasonInstruction},

	// Registers and memory.
	{"!read_ok", ReasonMemoryAccess},
	{"invalid mem access", ReasonMemoryAccess},
	{"invalid access to", ReasonMemoryAccess},
	{"min value is outside of the", ReasonMemoryAccess}, // even the lowest possible address is wrong
	{"invalid bpf_context access", ReasonMemoryAccess},
	{"invalid negative access", ReasonMemoryAccess},
	{"read from stack", ReasonMemoryAccess},
	{"indirect read from stack", ReasonMemoryAccess},
	{" stack R", ReasonMemoryAccess},
	{"misaligned", ReasonMemoryAccess},
	{"pointer arithmetic", ReasonMemoryAccess},
	{"pointer comparison prohibited", ReasonMemoryAccess},
	{"pointer prohibited", ReasonMemoryAccess},
	{" pointer, ", ReasonMemoryAccess},
	{"Possibly NULL pointer", ReasonMemoryAccess},
	{"leaks addr", ReasonMemoryAccess},
	{"cannot write", ReasonMemoryAccess},
	{"cannot read", ReasonMemoryAccess},
	{"frame pointer is read only", ReasonMemoryAccess},
	{"attempt to corrupt spilled", ReasonMemoryAccess},
	{"invalid size of register", ReasonMemoryAccess},
	{"dereference of modified", ReasonMemoryAccess},
	{"write into map forbidden", ReasonMemoryAccess},
	{"read from map forbidden", ReasonMemoryAccess},
	{"cannot be accessed directly", ReasonMemoryAccess},
	{"only read is supported", ReasonMemoryAccess},
	{"only read from", ReasonMemoryAccess},
	{"dynptr", ReasonMemoryAccess},
	{"kptr", ReasonMemoryAccess},
	{" type=", ReasonMemoryAccess}, // R%d type=%s expected=%s
	{"same insn cannot be used with different pointers", ReasonMemoryAccess},
	{"is not allowed", ReasonMemoryAccess},
	{"must be referenced", ReasonMemoryAccess},
	{"is of type", ReasonMemoryAccess},
	{"is ptr_", ReasonMemoryAccess},
}
