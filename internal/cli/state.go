package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/collect"
	"lastgood/internal/snapshot"
)

// lockPatience is how long a check waits for another one to end.
const lockPatience = 2 * time.Second

// openStore opens the state folder; reading needs nothing more.
func (s *session) openStore(ctx context.Context) (*baseline.Store, error) {
	if err := s.ownState(); err != nil {
		return nil, err
	}
	// Without a boot id the store works, but for the word "current".
	bootID, _ := s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
	return baseline.Open(s.stateDir, baseline.Options{BootID: bootID, Now: s.env.clock})
}

// lock takes the store's lock for writing.
func lock(ctx context.Context, store *baseline.Store) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return store.Lock(ctx)
}

// guard opens the crash guard in the state folder once the boot is known.
func (s *session) guard(boot, build string) (collect.Guard, error) {
	g, err := baseline.OpenGuard(s.stateDir, boot, build, s.env.clock)
	if err != nil {
		return nil, err // and not a nil Guard in an interface that is not nil
	}
	return g, nil
}

// who is the user that runs the command, for the record of what was accepted.
func who() string {
	u, err := user.Current()
	if err != nil {
		return "uid " + strconv.Itoa(userID())
	}
	return u.Username
}

// load reads a snapshot that a person names: a file, or a word that the store knows.
func (s *session) load(ctx context.Context, name string) (*snapshot.Snapshot, error) {
	if isFile(name) {
		snap, err := baseline.ReadFile(name)
		if err != nil && hintOf(err) == "" && !errors.Is(err, fs.ErrNotExist) {
			err = hinted(err, "%s", notSnapshot(name))
		}
		return snap, err
	}
	store, err := s.openStore(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := store.Load(name)
	var missing *baseline.NotFoundError
	if errors.Is(err, baseline.ErrNone) {
		return nil, hinted(err, "`lastgood check` learns the first one, `lastgood accept BOOT` chooses one of those that `lastgood list` shows")
	}
	if errors.As(err, &missing) {
		return nil, hinted(fmt.Errorf("%q is no file, and no boot in %s", name, s.stateDir),
			"name a snapshot file, last-good, current, a boot id or a kernel release; `lastgood list` shows what there is")
	}
	return snap, err
}

// notSnapshot is the way out where a file is something else.
func notSnapshot(name string) string {
	switch {
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return "a recorded host is no snapshot: `lastgood inventory -o json --root FILE` makes one of it"
	case strings.HasSuffix(name, ".gz"):
		return "it is compressed: unpack it first, with gunzip"
	}
	return "a snapshot is what `lastgood snapshot` writes, or `lastgood show BOOT -o json`"
}

// guardFor opens the crash guard for a run by hand: the families that the user
// names run even where they are blocked, and are let free where they end.
func (s *session) guardFor(named []string) openGuard {
	return func(boot, build string) (collect.Guard, error) {
		g, err := baseline.OpenGuard(s.stateDir, boot, build, s.env.clock)
		if err != nil {
			return nil, err
		}
		return namedGuard{g, named}, nil
	}
}

type namedGuard struct {
	*baseline.Guard
	named []string
}

func (g namedGuard) Blocked() map[string]string {
	return freed(g.Guard.Blocked(), g.named)
}

// freed takes out of the blocked groups what a person names.
func freed(blocked map[string]string, named []string) map[string]string {
	for _, name := range named {
		group, _, _ := strings.Cut(name, "/") // one case of a family is named with it
		for b := range blocked {
			// A large object is several groups: NAME (1 of 3).
			if b == group || strings.HasPrefix(b, name+" (") {
				delete(blocked, b)
			}
		}
	}
	if len(named) > 0 {
		delete(blocked, collect.AnyGroup)
	}
	return blocked
}

// warnSources says which sources failed, and gives the exit status for it.
func (s *session) warnSources(snap *snapshot.Snapshot) int {
	status := exitOK
	for i := range snap.Subjects {
		if sub := &snap.Subjects[i]; sub.Kind == snapshot.SourceKind && sub.Outcome == snapshot.Inconclusive {
			printError(s.env.Err, fmt.Errorf("%s: %s", sub.ID, sub.Reason))
			status = exitIncomplete
		}
	}
	return status
}
