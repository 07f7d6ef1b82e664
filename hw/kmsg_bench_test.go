package hw

import (
	"testing"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

func BenchmarkMessages(b *testing.B) {
	root, err := sysfs.OpenTree("../testdata/hosts/full612.tar.gz")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := readMessages(b.Context(), source.Host{Root: root}); err != nil {
			b.Fatal(err)
		}
	}
}
