package loader

import "github.com/cilium/ebpf/asm"

// Loaders that put a program together from its functions, each in its own order. The
// verifier looks at global functions in that order, and its heuristics carry over from one
// to the next, so that counters differ by a state or two.
const (
	LoaderLibbpf = "libbpf"  // each function where it is first referred to, and what it calls behind it
	LoaderEbpfGo = "ebpf-go" // as cilium/ebpf does
)

// asLibbpf puts the functions of a program into libbpf's order (bpf_object__reloc_code()
// in libbpf.c). Jumps do not leave a function, and calls are by name until the program is
// encoded.
func asLibbpf(insns asm.Instructions) asm.Instructions {
	bodies := map[string]asm.Instructions{}
	var names []string
	start := 0
	for i := range insns {
		if i > 0 && insns[i].Symbol() != "" {
			bodies[insns[start].Symbol()] = insns[start:i]
			names = append(names, insns[start].Symbol())
			start = i
		}
	}
	if start == 0 {
		return insns // one function
	}
	bodies[insns[start].Symbol()] = insns[start:]
	names = append(names, insns[start].Symbol())

	out := make(asm.Instructions, 0, len(insns))
	placed := map[string]bool{}
	var place func(name string)
	place = func(name string) {
		placed[name] = true
		out = append(out, bodies[name]...)
		for i := range bodies[name] {
			ins := &bodies[name][i]
			if ref := ins.Reference(); ins.IsFunctionReference() && bodies[ref] != nil && !placed[ref] {
				place(ref)
			}
		}
	}
	place(names[0])
	if len(out) != len(insns) {
		return insns // something in it is not understood: better as it was
	}
	return out
}
