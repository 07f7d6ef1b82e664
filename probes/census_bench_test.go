package probes

import (
	"context"
	"testing"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// BenchmarkCensus is to be compared with `bpftool feature probe full` in the same run.
func BenchmarkCensus(b *testing.B) {
	needCensus(b)
	h := source.Host{Root: sysfs.Live()}
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range census.Steps(h) {
			s.Run(context.Background(), h)
		}
	}
}

// BenchmarkHelpers is the bulk of it: one program type.
func BenchmarkHelpers(b *testing.B) {
	needCensus(b)
	c := newCensor(defaultBTF)
	for b.Loop() {
		progTypes[0].subject(c)
	}
}
