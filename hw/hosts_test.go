package hw_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const hostsFolder = "../testdata/hosts"

// hosts are the recorded hosts' names.
func hosts(t *testing.T) []string {
	t.Helper()
	packed, err := filepath.Glob(filepath.Join(hostsFolder, "*.tar.gz"))
	if err != nil || len(packed) == 0 {
		t.Fatalf("no recorded hosts in %s: %v", hostsFolder, err)
	}
	var names []string
	for _, p := range packed {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".tar.gz"))
	}
	return names
}

// unpacked are the recorded hosts that were opened, by name: hundreds of tests lay
// their faults over the same few, and nothing changes what is under them.
var unpacked sync.Map

func tree(t *testing.T, name string) sysfs.FS {
	t.Helper()
	load, _ := unpacked.LoadOrStore(name, sync.OnceValues(func() (sysfs.FS, error) {
		return sysfs.OpenTreeFS(filepath.Join(hostsFolder, name+".tar.gz"))
	}))
	under, err := load.(func() (sysfs.FS, error))()
	if err != nil {
		t.Fatal(err)
	}
	return under
}

// open lays faults over a recorded host.
func open(t *testing.T, name string, faults *sysfstest.FS) *sysfs.Root {
	t.Helper()
	faults.Under = tree(t, name)
	if len(faults.Hang) == 0 { // on a busy machine an answer may take long
		return sysfs.WithPatience(faults, time.Hour)
	}
	return sysfs.New(faults)
}

func hostOf(r *sysfs.Root) source.Host {
	return source.Host{Root: r, Now: func() time.Time { return time.Time{} }, Log: slog.New(slog.DiscardHandler)}
}

// take reads all sources as the collector does: a source that returned an error
// is inconclusive.
func take(ctx context.Context, t *testing.T, r *sysfs.Root) *snapshot.Snapshot {
	t.Helper()
	snap := &snapshot.Snapshot{Identity: snapshot.Identity{MachineID: "m"}}
	for _, src := range hw.Sources() {
		subjects, err := src.Read(ctx, hostOf(r))
		var kinds []string
		for _, k := range src.Kinds {
			kinds = append(kinds, k.Name)
		}
		s := snapshot.Subject{Kind: snapshot.SourceKind, ID: src.Name, Outcome: snapshot.Measured}
		s.Set(snapshot.SourceKinds, snapshot.List(kinds...))
		if errors.Is(err, source.ErrSkipped) {
			continue // what asks the machine itself has nothing to say of a recording
		}
		if err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
		}
		snap.Subjects = append(append(snap.Subjects, subjects...), s)
	}
	if err := snap.Sort(); err != nil {
		t.Fatal(err) // an identity that two devices share
	}
	return snap
}

func TestRecordedHosts(t *testing.T) {
	kinds, err := source.Kinds(hw.Sources())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range hosts(t) {
		t.Run(name, func(t *testing.T) {
			snap := take(t.Context(), t, open(t, name, &sysfstest.FS{}))
			declared(t, snap, kinds)
			got := golden(t, snap)
			file := filepath.Join(hostsFolder, name+".golden.json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; run with -update", err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("subjects (-want +got):\n%s", d)
			}
		})
	}
}

// golden is the subjects as JSON, one attribute a line.
func golden(t *testing.T, snap *snapshot.Snapshot) []byte {
	t.Helper()
	b, err := json.MarshalIndent(snap.Subjects, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// declared checks that subjects bear only what their kind declares, and that
// parents are there.
func declared(t *testing.T, snap *snapshot.Snapshot, kinds snapshot.Kinds) {
	t.Helper()
	keys := map[string]bool{}
	for i := range snap.Subjects {
		keys[snap.Subjects[i].Key().String()] = true
	}
	for i := range snap.Subjects {
		s := &snap.Subjects[i]
		if s.Kind == snapshot.SourceKind {
			if s.Outcome != snapshot.Measured {
				t.Errorf("%s: %s", s.Key(), s.Reason)
			}
			continue
		}
		k := kinds[s.Kind]
		if k == nil {
			t.Errorf("%s: kind is not declared", s.Key())
			continue
		}
		for name := range s.Attrs {
			if _, ok := k.Attr(name); !ok {
				t.Errorf("%s: attribute %s is not declared", s.Key(), name)
			}
			if s.Errs[name] != "" {
				t.Errorf("%s: attribute %s has a value and an error: %s", s.Key(), name, s.Errs[name])
			}
		}
		// What the kernel said of a device is still there when the device is not.
		if s.Parent != "" && !keys[s.Parent] && s.Kind != "kernel.message" {
			t.Errorf("%s: its parent %s is not there", s.Key(), s.Parent)
		}
	}
}
