package probes

import (
	"time"

	"lastgood/bpf"
	"lastgood/internal/source"
)

var _ = register(Family{
	Name: "argument_filter", Shape: Datapath, Tier: source.Boot, Since: "5.10",
	Doc: `A filter of system calls by their arguments in C, as security agents have them.
Numbers, strings, buffers, addresses and scattered buffers are copied one behind the other into an event, each at an
offset and of a length that depend on all before, and are then matched against selectors of ranges, masks, prefixes and
suffixes. A higher count means that such filters on this host got nearer to the limit: writes at variable offsets, and
lengths that are known only together with an offset, are followed on more paths.`,
	Rests: "BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000 since 5.2 (c04c0d2b968a); map values at variable offsets, since 4.14 (f1174f77b50c)",
	Cases: sizes(bpf.ArgFilters(), "filter_args", "arguments, selectors, matches and bytes of a string are bounded by it",
		9*time.Millisecond, 15*time.Millisecond, 50*time.Millisecond),
})
