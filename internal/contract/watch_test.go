package contract

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// contractFS is a host with a contract, whose file /x is there from the tenth to the fortieth second after the boot.
type contractFS struct {
	uptimeFS
	text string
}

func (f contractFS) ReadDir(name string) ([]string, error) {
	if name == Folder && f.text != "" {
		return []string{"test.yaml"}, nil
	}
	return nil, os.ErrNotExist
}

func (f contractFS) Exists(name string) (bool, error) {
	there, err := f.uptimeFS.Exists(name)
	return there && name == "/x", err
}

func (f contractFS) ReadFile(name string, max int) ([]byte, error) {
	if strings.HasPrefix(name, Folder) {
		return []byte(f.text), nil
	}
	return f.uptimeFS.ReadFile(name, max)
}

// watched starts a watch of the checks.
func watched(ctx context.Context, text string) *Watch {
	return StartWatch(ctx, source.Host{Root: sysfs.New(contractFS{uptimeFS{start: time.Now()}, text})}, nil)
}

func watchedStates(t *testing.T, w *Watch) (out []string) {
	t.Helper()
	results, err := w.Results(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		out = append(out, r.ID+" "+string(r.State)+" "+r.Why)
	}
	return out
}

// TestWatch: whoever looks meanwhile sees what is pending and why, and the last word of each check at the end.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t.Context(), head+"defaults: {every: 1s}\nchecks:\n"+
			"  - {id: a, within: 30s, stable_for: 20s, file: {path: /x}}\n  - {id: b, within: 20s, file: {path: /y}}\n  - {id: c, within: 1h, fail_fast: true, file: {path: /y}}\n")
		time.Sleep(5500 * time.Millisecond)
		want := []string{"a pending /x is not there; it has 25s more", "b pending /y is not there; it has 15s more", "c fail /y is not there"}
		if d := cmp.Diff(want, watchedStates(t, w)); d != "" {
			t.Errorf("after 5 s (-want +got):\n%s", d)
		}
		time.Sleep(10 * time.Second)
		if have := watchedStates(t, w)[0]; have != "a pending it holds, and must for 20s" {
			t.Errorf("after 15 s: %s", have)
		}
		<-w.Done()
		if d := cmp.Diff([]string{"a pass ", "b fail /y is not there", "c fail /y is not there"}, watchedStates(t, w)); d != "" {
			t.Errorf("at the end (-want +got):\n%s", d)
		}
		subjects, err := w.Source().Read(t.Context(), source.Host{})
		if err != nil || len(subjects) != 3 || subjects[0].Text("state") != "pass" || subjects[1].Text("state") != "fail" {
			t.Errorf("subjects %+v, %v", subjects, err)
		}
	})
}

// TestWatchEnds: what is not decided when the time is over could not be told, a contract that cannot be read is told, and without
// one there is nothing to wait for.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One deadline falls between two tries, one on a try.
		var w *Watch
		for _, most := range []time.Duration{12*time.Minute - time.Second, 12 * time.Minute} {
			ctx, stop := context.WithTimeout(t.Context(), most)
			w = watched(ctx, head+"checks:\n  - {id: a, within: 24h, file: {path: /y}}\n")
			<-w.Done()
			stop()
			if have := watchedStates(t, w)[0]; !strings.HasPrefix(have, "a unknown ") || !strings.Contains(have, "stopped before its time was over") {
				t.Errorf("after %v: %s", most, have)
			}
		}
		subjects, err := w.Source().Read(t.Context(), source.Host{})
		if len(subjects) != 1 || subjects[0].Outcome != snapshot.Inconclusive || err == nil || !strings.Contains(err.Error(), "stopped before its time was over") {
			t.Errorf("subjects %+v, %v", subjects, err)
		}
		if w = watched(t.Context(), head+"checks: [\n"); !isDone(w) {
			t.Error("a contract that cannot be read is waited for")
		}
		if _, err := w.Source().Read(t.Context(), source.Host{}); err == nil || !strings.Contains(err.Error(), Folder+"/test.yaml: [") {
			t.Errorf("error %v", err)
		}
		if w = watched(t.Context(), ""); !isDone(w) || len(watchedStates(t, w)) != 0 {
			t.Error("no contract is waited for")
		}
	})
}

func isDone(w *Watch) bool {
	synctest.Wait()
	select {
	case <-w.Done():
		return true
	default:
		return false
	}
}
