package baseline

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// childDir names the state folder to a child process that writes to it for ever.
const childDir = "LASTGOOD_BASELINE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println("error:", writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver does all that writes, a line on stdout after each.
func writeForEver(dir string) error {
	s, err := Open(dir, Options{BootID: "boot-0"})
	if err != nil {
		return err
	}
	if err := s.TryLock(); err != nil {
		return err
	}
	g, err := OpenGuard(dir, "boot-0", "k1", nil)
	if err != nil {
		return err
	}
	said := func(err error) error { fmt.Println("done"); return err }
	for n := 0; ; n++ {
		id := fmt.Sprintf("boot-%d", n%8)
		_, save := s.Save(snap(id, "6.1", fmt.Sprint(n), day), good())
		said(nil)
		_, accept := s.Accept(id, "root")
		said(nil)
		begin := said(g.Begin("a"))
		end := said(g.End("a"))
		_, prune := s.Prune(4, DefaultMaxBytes)
		said(nil)
		if err := errors.Join(save, accept, begin, end, prune); err != nil {
			return err
		}
	}
}

func TestKilledAtRandomMoments(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		seed := uint64(round)
		killWriter(t, dir, rand.New(rand.NewPCG(seed, seed)).IntN(60))
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.TryLock(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, _, err := s.LastGood(); err != nil && !(round == 0 && errors.Is(err, ErrNone)) {
			t.Fatalf("round %d: last good: %v", round, err)
		}
		entries, err := s.List()
		if err != nil {
			t.Fatalf("round %d: list: %v", round, err)
		}
		if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Err != nil }); i >= 0 {
			t.Fatalf("round %d: boot %s: %v", round, entries[i].BootID, entries[i].Err)
		}
		for _, d := range s.Damaged() {
			if !strings.Contains(d, eventsFile) { // a line may be cut off
				t.Fatalf("round %d: %s", round, d)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkKilledGuard(t, dir, round)
	}
}

func checkKilledGuard(t *testing.T, dir string, round int) {
	t.Helper()
	g, err := OpenGuard(dir, "boot-0", "k1", nil)
	if err != nil {
		t.Fatalf("round %d: guard: %v", round, err)
	}
	if g.Damaged() != nil || len(g.Blocked()) > 0 {
		t.Fatalf("round %d: a killed process passes for a crash: %v, damage %v", round, g.Blocked(), g.Damaged())
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

// killWriter starts a writer and kills it after it said that many lines and
// went on.
func killWriter(t *testing.T, dir string, lines int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for n := 0; n <= lines && said.Scan(); n++ {
		if text := said.Text(); text != "done" {
			t.Errorf("the writer says %q", text)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the writer ended: %v", err)
	}
}
