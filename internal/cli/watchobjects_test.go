package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/config"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/internal/workload"
)

// TestWatchKeepsObjects updates an agent while the last good boot runs: what it loads now
// is what the next boot is held to.
func TestWatchKeepsObjects(t *testing.T) {
	if !canLoad() {
		t.Skip("loading BPF programs needs root")
	}
	state, agent := t.TempDir(), t.TempDir()
	put := func(from, name string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("../../bpf", from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(agent, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(t.TempDir(), "lastgood.yaml")
	if err := os.WriteFile(conf, []byte("workloads: [{name: agent, objects: ["+agent+"]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	put("path_walker_small_bpfel.o", "walker.o")
	var out bytes.Buffer
	env := OS()
	env.In, env.Out, env.Err = strings.NewReader(""), &out, &out
	if status := Main([]string{"check", "-q", "--state-dir", state, "--config", conf}, env); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out.String())
	}
	s := &session{env: Env{In: env.In, Out: io.Discard, Err: os.Stderr, Getenv: func(string) string { return "" }}, stateDir: state, stateGiven: true, jobs: 1, root: sysfs.Live(), config: config.Default()}
	s.config.Workloads = &[]workload.Spec{{Name: "agent", Objects: []string{agent}}}
	store, err := s.openStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{s: s, store: store}
	has := func(id string) bool {
		t.Helper()
		snap, _, err := store.LastGood()
		if err != nil {
			t.Fatal(err)
		}
		sub := snap.Subject(snapshot.Key{Kind: "bpf.program", ID: id})
		return sub != nil && sub.Text("verdict") == "accepted"
	}
	if !has("walker.o/walk_path") || has("parser.o/l7_parse") {
		t.Fatal("the first boot was learned without its objects")
	}
	_, before, _ := store.LastGood()
	if err := w.refreshObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := store.LastGood(); after.SHA256 != before.SHA256 {
		t.Error("accepted anew although nothing changed")
	}
	put("l7_parser_small_bpfel.o", "parser.o")
	if err := w.refreshObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !has("walker.o/walk_path") || !has("parser.o/l7_parse") {
		t.Error("the new object is not what the next boot is held to")
	}
	if _, after, _ := store.LastGood(); after.By != byWatch || after.BootID != before.BootID {
		t.Errorf("accepted by %q", after.By)
	}
}
