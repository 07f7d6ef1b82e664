package probes

import (
	"time"

	"lastgood/bpf"
	"lastgood/internal/source"
)

var _ = register(Family{
	Name: "l7_parser", Shape: Datapath, Tier: source.Boot, Since: "5.10",
	Doc: `A parser of HTTP/1 and HTTP/2 in C, as observability agents have them.
Text is walked byte by byte through a state machine, frames and compressed headers field by field, each at an offset
into the packet that depends on all lengths before; what is known of a connection lives in a map. A higher count means
that protocol parsers on this host got nearer to the limit: paths that differ in an offset or a length are merged less.`,
	Rests: "BPF_COMPLEXITY_LIMIT_INSNS, 1,000,000 since 5.2 (c04c0d2b968a); packet pointers of variable offset, find_good_pkt_pointers()",
	Cases: sizes(bpf.L7Parsers(), "l7_parse", "bytes of text, frames, fields of a header and digits of a length are bounded by it",
		8*time.Millisecond, 15*time.Millisecond, 45*time.Millisecond),
})
