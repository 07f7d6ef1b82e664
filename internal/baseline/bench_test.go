package baseline

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"lastgood/internal/snapshot"
)

// large is a snapshot of a large host.
func large(boot string, taken time.Time) *snapshot.Snapshot {
	s := snap(boot, "6.12", "boot", taken)
	s.Subjects = nil
	for n := range 5000 {
		s.Subjects = append(s.Subjects, snapshot.Subject{Kind: "hw.disk", ID: fmt.Sprintf("naa.%d", n), Label: "sda", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{"size_bytes": snapshot.Int(n), "model": snapshot.Text("a model of disk"), "driver": snapshot.Text("sd")}})
	}
	return s
}

func benchStore(b *testing.B, boots int) *Store {
	s, err := Open(filepath.Join(b.TempDir(), "state"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.TryLock(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	for n := range boots {
		if _, err := s.Save(large(fmt.Sprintf("boot-%d", n), day.Add(time.Duration(n)*time.Hour)), good()); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkList30Of5000(b *testing.B) {
	s := benchStore(b, 30)
	for b.Loop() {
		if entries, err := s.List(); err != nil || len(entries) != 30 {
			b.Fatal(entries, err)
		}
	}
}

func BenchmarkSave5000(b *testing.B) {
	s := benchStore(b, 1)
	for b.Loop() {
		if _, err := s.Save(large("boot-0", day), good()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLastGood5000(b *testing.B) {
	s := benchStore(b, 1)
	if _, err := s.Accept("boot-0", "root"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := s.LastGood(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGuardGroup is what the crash guard adds to a group of probes.
func BenchmarkGuardGroup(b *testing.B) {
	g, err := OpenGuard(filepath.Join(b.TempDir(), "state"), "b1", "k1", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	for b.Loop() {
		if err := g.Begin("a"); err != nil {
			b.Fatal(err)
		}
		if err := g.End("a"); err != nil {
			b.Fatal(err)
		}
	}
}
