package probes

import (
	"time"

	"lastgood/bpf"
	"lastgood/internal/source"
)

var _ = register(Family{
	Name: "path_walker", Shape: Datapath, Tier: source.Boot, Since: "5.10",
	Doc: `A walker from a directory entry up to the root in C, as security agents make paths with.
Names are read into a buffer from its end, at an offset less the lengths of all names so far, over mount points; then
the path is compared with watched ones. Masks are all that the verifier knows of the offsets. A higher count means that
programs that resolve paths on this host got nearer to the limit, or can follow fewer directories.`,
	Rests: "BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000 since 5.2 (c04c0d2b968a); map values at variable offsets, since 4.14 (f1174f77b50c)",
	Cases: sizes(bpf.PathWalkers(), "walk_path", "components of a path and bytes compared are bounded by it",
		2*time.Millisecond, 10*time.Millisecond, 30*time.Millisecond),
})
