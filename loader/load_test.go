package loader

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// BenchmarkMeasure compares the wall time of a measurement with that of the
// kernel's part in it; own-% is what this package adds.
func BenchmarkMeasure(b *testing.B) {
	needBPF(b)
	for _, bm := range []struct {
		name string
		spec *ebpf.ProgramSpec
	}{
		{"tiny", socket(returnZero()...)},
		{"loop_10000", loop(10_000)},
		{"straight_1000000", program(ebpf.SocketFilter, straight(1_000_000))},
	} {
		b.Run(bm.name, func(b *testing.B) {
			var kernel, wall time.Duration
			for b.Loop() {
				start := time.Now()
				m := Measure(b.Context(), Request{Spec: bm.spec})
				wall += time.Since(start)
				if m.Verdict != Accepted {
					b.Fatalf("%+v", m)
				}
				kernel += time.Duration(m.LoadSeconds * float64(time.Second))
			}
			b.ReportMetric(100*float64(wall-kernel)/float64(kernel), "own-%")
		})
	}
}
