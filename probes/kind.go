package probes

import "lastgood/internal/snapshot"

// Values of the attribute deduction.
const (
	deductionMade    = "made"
	deductionNotMade = "not made"
)

// ProbeKind is the name of the kind of built-in programs.
const ProbeKind = "bpf.probe"

// probeKind declares what is known of a built-in program on one kernel.
var probeKind = snapshot.Kind{
	Name:     ProbeKind,
	Doc:      "A built-in program, as this kernel's verifier sees it.",
	Required: true,
	Attrs: append([]snapshot.Attr{
		{Name: "family", Doc: "the family that the program belongs to"},
		{Name: "shape", Doc: "how the family tells one verifier from another: deduction, merge, limit or datapath"},
		{Name: "program", Doc: "digest of the program and its maps; two measurements of unlike programs are not compared"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not know something that the program is made of; the subject is unsupported then"},
		{Name: "deduction", Order: []string{deductionMade, deductionNotMade}, Doc: "whether the verifier proved that the block behind the branch is never reached"},
		{Name: "paths", Unit: snapshot.Count, Better: snapshot.LowerBetter, Doc: "about how many times the verifier walked what stands behind the branches of a merge probe: 1 where it merged all paths"},
	}, programAttrs...),
	Rules: probeRules,
}

// programAttrs are the attributes of any measured program. Their names are those
// of the verifier's statistics (print_verification_stats in kernel/bpf/verifier.c).
var programAttrs = []snapshot.Attr{
	{Name: "verdict", Order: []string{"accepted", "rejected"}, Doc: "the verifier's verdict"},
	{Name: "reason", Doc: "class of the rejection, by the log's text"},
	{Name: "phase", Doc: "where loading ended: open, relocate, map_create, verify, jit, info"},
	{Name: "errno", Doc: "the error number of a rejection, by name"},
	{Name: "insns", Unit: snapshot.Insns, Doc: "insns of the program as handed to the kernel"},
	{Name: "insns_processed", Unit: snapshot.Insns, Better: snapshot.LowerBetter, LimitAttr: "insns_limit", Doc: "insns that the verifier walked, over all paths"},
	{Name: "insns_limit", Unit: snapshot.Insns, Better: snapshot.HigherBetter, Doc: "how many it walks before it gives up"},
	{Name: "total_states", Unit: snapshot.States, Better: snapshot.LowerBetter, Doc: "states that the verifier kept"},
	{Name: "peak_states", Unit: snapshot.States, Better: snapshot.LowerBetter, Doc: "most states kept at once"},
	{Name: "max_states_per_insn", Unit: snapshot.States, Better: snapshot.LowerBetter, Doc: "most states kept at one insn"},
	{Name: "mark_read", Unit: snapshot.Count, Doc: "longest chain of liveness marks; always 0 since 6.18"},
	{Name: "stack_depth", Unit: snapshot.Bytes, Better: snapshot.LowerBetter, Limit: 512, Doc: "the largest stack: over all chains of calls where the kernel says it, else of the largest function"},
	{Name: "stack_depths", Doc: "stack of each function, in the order of the program, in bytes"},
	{Name: "subprograms", Unit: snapshot.Count, Doc: "functions, the main one among them"},
	{Name: "verification_seconds", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, Doc: "time in the verifier, one sample"},
	{Name: "load_seconds", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, Doc: "time of the whole load, one sample"},
	{Name: "xlated_bytes", Unit: snapshot.Bytes, Doc: "size after the verifier's rewriting"},
	{Name: "jited_bytes", Unit: snapshot.Bytes, Noise: snapshot.Sampled, Doc: "size of the machine code; follows the CPU model, the mitigations and, where constants are encoded by their length (arm64), the addresses of the boot, so it is reported and never judged"},
	{Name: "memlock_bytes", Unit: snapshot.Bytes, Doc: "memory charged to the program"},
	{Name: "verified_insns", Unit: snapshot.Insns, Doc: "insns processed as the program's info says, since 5.16"},
	{Name: "cause", Noise: snapshot.Evidence, Doc: "the line of the log that names the cause of a rejection"},
	{Name: "log_tail", Noise: snapshot.Evidence, Doc: "the last lines of the verifier's log"},
	{Name: "unknown_log_lines", Noise: snapshot.Evidence, Doc: "lines that look like statistics and are not known to this version"},
}

// Topics of the rules: of the findings on one program and topic only the worst is told.
const (
	topicCost     = "cost"
	topicHeadroom = "headroom"
	topicVerdict  = "verdict"
)

// sameProgram drops a rule where the program itself is another one now.
var sameProgram = []string{"program"}

// sameVerdict drops one where the verdict is another too: of a program that is refused
// only a part was walked.
var sameVerdict = []string{"program", "verdict"}

// shapeLimit confines a rule to the families that stand on both sides of a limit.
var (
	shapeLimit = map[string]string{"shape": string(Limit)}
	// shapeDatapath confines one to whole programs.
	shapeDatapath = map[string]string{"shape": string(Datapath)}
)

// probeRules are the defaults for built-in programs. Counters are exact, so the
// floors are there for what a difference means, not for noise.
var probeRules = []snapshot.Rule{
	{Code: "limit-shrunk", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"accepted"}, To: []string{"rejected"}, Where: shapeLimit, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: one of the kernel's limits is lower now, what was within it is refused: {attr:cause}",
		Hint:    "programs that came near the limit will not load on this kernel"},
	{Code: "limit-raised", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"rejected"}, To: []string{"accepted"}, Where: shapeLimit, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: one of the kernel's limits is higher now, what was beyond it is accepted"},
	{Code: "datapath-rejected", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"accepted"}, To: []string{"rejected"}, Where: shapeDatapath, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}, a whole program as agents have them, is refused now and was accepted: {attr:cause}",
		Hint:    "agents with programs like it will not start on this kernel: test yours before you go on"},
	{Code: "probe-rejected", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"accepted"}, To: []string{"rejected"}, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "{name} is refused now and was accepted: {attr:cause}",
		Hint:    "programs that do the same will not load on this kernel: see whether yours are among them"},
	{Code: "probe-accepted", On: snapshot.OnBecomes, Attr: "verdict", From: []string{"rejected"}, To: []string{"accepted"}, Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name} is accepted now and was refused"},
	{Code: "probe-unsupported", On: snapshot.OnMissing, Where: map[string]string{"offered": "no"}, Topic: topicVerdict,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel no longer knows something that the program is made of: {attr:cause}",
		Hint:    "check the kernel's configuration and lockdown; programs that use it will not load on this kernel"},
	{Code: "reason-changed", On: snapshot.OnChanged, Attr: "reason", Unless: sameProgram, Topic: topicVerdict,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name} is refused for another reason now: {new}, and was for {old}"},
	{Code: "headroom-low", On: snapshot.OnHeadroom, Attr: "insns_processed", Share: 0.20, Unless: sameVerdict, Topic: topicHeadroom,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} takes {new} of {limit}: only {left} is left, where it took {old}",
		Hint:    "the next change of the kernel or of a program like it may be too much"},
	{Code: "insns-doubled", On: snapshot.OnGrowth, Attr: "insns_processed", Ratio: 2, Floor: 20_000, Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier walks {new} where it walked {old} ({ratio})",
		Hint:    "programs like it may become too large for the verifier: test yours before you go on"},
	{Code: "merge-lost", On: snapshot.OnGrowth, Attr: "paths", Ratio: 2, Floor: 1, Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier no longer merges paths that are alike: {new} walked apart, {old} before"},
	{Code: "insns-grew", On: snapshot.OnGrowth, Attr: "insns_processed", Ratio: 1.25, Floor: 5_000, Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier walks {new} where it walked {old} ({ratio})"},
	{Code: "merge-gained", On: snapshot.OnBetter, Attr: "paths", Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier merges more paths that are alike: {new} walked apart, {old} before"},
	{Code: "deduction-lost", On: snapshot.OnBecomes, Attr: "deduction", From: []string{deductionMade}, To: []string{deductionNotMade}, Unless: sameProgram, Topic: topicCost,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier no longer sees that the branch cannot be taken"},
	{Code: "deduction-gained", On: snapshot.OnBecomes, Attr: "deduction", From: []string{deductionNotMade}, To: []string{deductionMade}, Unless: sameProgram, Topic: topicCost,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier sees now that the branch cannot be taken"},
	{Code: "insns-fell", On: snapshot.OnBetter, Attr: "insns_processed", Unless: sameVerdict, Topic: topicCost,
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the verifier walks {new} where it walked {old}"},
	{Code: "insns-limit-changed", On: snapshot.OnChanged, Attr: "insns_limit", Unless: sameProgram,
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "the verifier gives up after {new} now, after {old} before ({name})"},
	{Code: "counter-moved", On: snapshot.OnMoved, Unless: sameProgram, Topic: topicCost,
		Severity: snapshot.Warning, Class: snapshot.ClassIdentity,
		Message: "{name}: {attr} was {old} and is {new}, although this is the same kernel build, configured alike",
		Hint:    "this kernel is not what it says, or something changes the verifier while it runs: a livepatch, a module, a sysctl"},
}
