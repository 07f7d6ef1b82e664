package loader

import "golang.org/x/sys/unix"

// Verdict is what the kernel made of a program.
type Verdict string

// The third answer, "could not tell", is the empty Verdict with
// [Measurement.Inconclusive] saying why.
const (
	Accepted Verdict = "accepted"
	Rejected Verdict = "rejected"
)

// Phase is the step a measurement reached or failed in.
type Phase string

const (
	PhaseOpen      Phase = "open"       // reading the object or the request
	PhaseRelocate  Phase = "relocate"   // CO-RE, kfuncs, attach target, BTF
	PhaseMapCreate Phase = "map_create" // creating the maps the program refers to
	PhaseVerify    Phase = "verify"     // BPF_PROG_LOAD up to the verifier's last word
	PhaseJIT       Phase = "jit"        // translation to machine code
	PhaseInfo      Phase = "info"       // reading lengths of the loaded program; where a whole measurement ends
	PhaseRun       Phase = "run"        // test run, made by callers of Load
	PhaseAttach    Phase = "attach"     // attachment or tail call insertion, made by callers of Load
)

// Reason is the class of a rejection or of an inconclusive measurement.
type Reason string

const (
	ReasonTooLong      Reason = "too_long"      // more instructions than a program may have; refused before verification
	ReasonTooComplex   Reason = "too_complex"   // the verifier processed more instructions than its limit
	ReasonJumpSequence Reason = "jump_sequence" // too many pending branches
	ReasonLoop         Reason = "loop"          // endless or unbounded loop, back-edge where none may be
	ReasonStack        Reason = "stack"         // a frame or the sum over a call chain is too large, or a stack access is out of bounds
	ReasonCallDepth    Reason = "call_depth"    // too many nested calls
	ReasonSubprograms  Reason = "subprograms"   // too many functions, or functions used in a forbidden way
	ReasonMaps         Reason = "maps"          // too many maps, or a map this program may not use
	ReasonHelper       Reason = "helper"        // helper unknown, or not for this program type or licence
	ReasonKfunc        Reason = "kfunc"         // kernel function missing, not allowed or called wrongly
	ReasonBTF          Reason = "btf"           // type information missing or not matching; CO-RE relocation that found no target
	ReasonMemory       Reason = "memory"        // the kernel ran out of memory: always inconclusive
	ReasonMemoryAccess Reason = "memory_access" // register or memory used before it is known to be safe
	ReasonPrecision    Reason = "precision"     // the verifier lost the bounds of a value it needs
	ReasonReturn       Reason = "return_value"  // exit value out of the range the hook allows
	ReasonLock         Reason = "lock"          // locks, RCU sections, references or sleeping used wrongly
	ReasonInstruction  Reason = "instruction"   // malformed or unreachable instruction, jump out of range
	ReasonLockdown     Reason = "lockdown"      // helper withheld by kernel lockdown
	ReasonPermission   Reason = "permission"    // privilege missing: always inconclusive
	ReasonInterrupted  Reason = "interrupted"   // deadline or signal: always inconclusive
	ReasonJIT          Reason = "jit"           // verified, but not translated to machine code
	ReasonUnsupported  Reason = "unsupported"   // program type, attach type, flag or hook this kernel does not know
	ReasonVerifierBug  Reason = "verifier_bug"  // the verifier tripped over itself
	ReasonUnknown      Reason = "unknown"       // rejected with a text or errno not in the table
)

// Measurement is what one load of one program told.
type Measurement struct {
	Verdict Verdict
	// Inconclusive says in a sentence why there is no verdict; "" if there is one.
	Inconclusive string
	Phase        Phase      // PhaseInfo when all went well
	Reason       Reason     // "" when accepted
	Errno        unix.Errno // 0 for none
	Cause        string     // the log line or error that names the cause, never a statistics line
	LogTail      string     // last lines of the verifier's log, at most 4 KiB
	Unknown      []string   // lines that look like statistics and are not known to the parser
	Stats        Stats      // from the log

	// LoadSeconds is the wall time of the BPF_PROG_LOAD call; 0 when no load was
	// made. For programs that only the library can link (see Load) it includes
	// its linking.
	LoadSeconds float64
	// InsnCount is the number of 8-byte slots handed to the kernel, 0 when none were.
	InsnCount int

	XlatedBytes   Opt[uint64] // after the verifier's rewriting
	JitedBytes    Opt[uint64] // machine code of all functions; 0 means not translated
	MemlockBytes  Opt[uint64] // memory charged to the program, from fdinfo
	VerifiedInsns Opt[uint64] // since 5.16 (aba64c7da983); equals Stats.InsnsProcessed

	// Errs are things that could not be read of an accepted program.
	Errs []string
}

// Stats are the verifier's own counters. What the log did not say is absent.
type Stats struct {
	InsnsProcessed   Opt[uint64]
	InsnsLimit       Opt[uint64] // the kernel's limit for InsnsProcessed
	MaxStatesPerInsn Opt[uint64]
	TotalStates      Opt[uint64]
	PeakStates       Opt[uint64]
	MarkRead         Opt[uint64] // longest liveness walk; always 0 since 6.18

	VerificationSeconds Opt[float64]

	// StackDepths are bytes of stack per subprogram, in the order of the
	// program; nil if the log has no such list.
	StackDepths []int
	// StackMax is the largest stack as the kernel itself sums it up over call
	// chains; only newer kernels say so. See also DeepestFrame.
	StackMax    Opt[int]
	Subprograms Opt[int] // including the main function
	// InsnsPerSubprog are the processed instructions per subprogram.
	InsnsPerSubprog []uint64
	PerSubprog      []SubprogStats // newest kernels only
}

// SubprogStats is the newest kernels' line on one function.
type SubprogStats struct {
	Index      int
	Name       string
	Linkage    string // main, static or global
	InsnsSelf  uint64 // processed in the function itself
	InsnsTotal uint64 // and in what it calls
	Stack      int    // bytes
}

// DeepestFrame is the largest stack of a single function. Unlike StackMax it
// means the same on every kernel that reports stacks per function.
func (s Stats) DeepestFrame() Opt[int] {
	var out Opt[int]
	for _, d := range s.StackDepths {
		out = Some(max(out.V, d))
	}
	return out
}
