package probes

import (
	"time"

	"lastgood/bpf"
	"lastgood/internal/source"
)

var _ = register(Family{
	Name: "unwinder", Shape: Datapath, Tier: source.Boot, Since: "5.10",
	Doc: `An unwinder of user stacks in C, as continuous profilers have them.
For each frame a mapping and then a row of an unwind table is searched by bisection, and the row says which of several
ways leads to the caller. The ends of both searches are scalars that every step splits, in a loop in a loop. A higher
count means that profilers on this host got nearer to the limit, or have to walk fewer frames in one program.`,
	Rests: "BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000 since 5.2 (c04c0d2b968a); bounded loops since 5.3 (2589726d12a1)",
	Cases: sizes(bpf.Unwinders(), "unwind_user", "frames of a stack and steps of the searches are bounded by it",
		6*time.Millisecond, 15*time.Millisecond, 40*time.Millisecond),
})
