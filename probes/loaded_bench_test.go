package probes

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// BenchmarkLoaded500 is the whole source with 500 programs loaded, each with a map of
// its own: at most 100 ms.
func BenchmarkLoaded500(b *testing.B) {
	needCensus(b)
	for i := range 500 {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Name: fmt.Sprintf("tb_map_%d", i), Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 100})
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: fmt.Sprintf("tb_%d", i), Type: ebpf.SchedCLS, License: "GPL",
			Instructions: asm.Instructions{asm.LoadMapPtr(asm.R1, m.FD()), asm.Mov.Imm(asm.R0, 0), asm.Return()}})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
	}
	h := liveHost()
	b.ReportAllocs()
	for b.Loop() {
		if got, err := readLoaded(b.Context(), h); err != nil || len(got) < 501 {
			b.Fatal(len(got), err)
		}
	}
}
