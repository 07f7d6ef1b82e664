package baseline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	journalFile = "journal"
	journalLock = "journal.lock"
	// A journal of this size is written anew when it is next opened, and one of
	// maxJournal is not lastgood's.
	wornJournal = 64 << 10
	maxJournal  = 1 << 20
	// maxNotes bounds what is kept of kernels that this host no longer boots.
	maxNotes = 256
)

// AnyGroup stands in Blocked for every group: the journal was damaged, and it
// cannot be told which group was under way.
const AnyGroup = "*"

// Note is a group that was under way in a boot and was not ended there.
type Note struct {
	Group string
	Boot  string
	Build string // build-id of the kernel; "" where it could not be read
	Time  time.Time
	// Blocks reports whether the group must not run on the current kernel.
	Blocks bool
}

// Guard is the crash guard. A group of probes is noted, synced, before it runs;
// a boot that finds the note of another boot open on its own kernel build knows
// that the group may have brought the machine down, and leaves it out until
// somebody clears it or runs it all the same and it ends.
//
// A note of this very boot is of a process that was killed, not of a crash. On
// another build a note is kept and blocks nothing. Where either build is not
// known, it blocks.
//
// Begin costs one append and one fsync; the end of a group is written together
// with the next beginning, or by Close. A crash soon after a group's end is thus
// put down to it too, which is as well: the kernel frees programs later.
//
// A Guard holds a lock of its own, so it can be used beside a [Store] that holds
// the store's. Its methods may be called by several goroutines.
type Guard struct {
	dir         string
	fl          files
	boot, build string
	now         func() time.Time
	lock        io.Closer

	mu      sync.Mutex
	notes   []entry // open, in the order in which they were begun
	pending []entry // not written yet
	rewrite bool    // the file cannot be appended to: it is damaged, cut off or worn
	fresh   bool    // its name may not be durable yet
	killed  []string
	damage  *DamagedError
}

// OpenGuard opens the journal in the state folder, which it makes where it is
// absent. Build is the running kernel's build-id, or ""; now is the clock, nil for
// the system's. It returns a *LockedError where another process measures.
func OpenGuard(dir, bootID, build string, now func() time.Time) (*Guard, error) {
	return openGuard(osFiles{}, dir, bootID, build, now)
}

func openGuard(fl files, dir, bootID, build string, now func() time.Time) (*Guard, error) {
	if bootID == "" {
		return nil, errors.New("open crash guard: the boot id is not known")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open crash guard: %w", err)
	}
	if err := makeDir(fl, dir); err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	g := &Guard{dir: dir, fl: fl, boot: bootID, build: build, now: now}
	if g.lock, err = fl.Lock(filepath.Join(dir, journalLock)); err != nil {
		return nil, fileErr("lock", filepath.Join(dir, journalLock), err)
	}
	if err := g.load(); err != nil {
		g.lock.Close()
		return nil, err
	}
	return g, nil
}

func (g *Guard) path() string { return filepath.Join(g.dir, journalFile) }

// load reads the journal and settles what earlier processes left in it.
func (g *Guard) load() error {
	g.fresh = true // a process that was killed may not have come to sync the folder
	if err := removeTemps(g.fl, g.dir, func(base string) bool { return base == journalFile }); err != nil {
		return err
	}
	b, err := g.fl.ReadFile(g.path(), maxJournal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, errTooLarge) && !errors.Is(err, unix.EIO):
		return fileErr("read", g.path(), err)
	}
	lines, cut, bad := parseJournal(b)
	g.notes = replay(lines)
	g.settle()
	if err != nil || bad > 0 {
		if err == nil {
			err = fmt.Errorf("%d of its lines do not hold what was written", bad)
		}
		return g.setAside(b, err)
	}
	if cut || len(b) > wornJournal {
		g.rewrite = true
		return g.flush()
	}
	return nil
}

// settle drops what does not outlive its process or boot, and what is too much.
func (g *Guard) settle() {
	g.notes = slices.DeleteFunc(g.notes, func(n entry) bool {
		switch {
		case n.Group == AnyGroup:
			return n.Boot != g.boot // it was for one boot
		case n.Boot == g.boot:
			g.killed = append(g.killed, n.Group)
			g.pending = append(g.pending, entry{Op: opKilled, Group: n.Group, Boot: n.Boot, Build: n.Build, Time: g.now()})
			return true
		}
		return false
	})
	if extra := len(g.notes) - maxNotes; extra > 0 {
		g.notes = slices.Delete(g.notes, 0, extra)
		g.rewrite = true
	}
}

// setAside keeps a damaged journal and writes one with what could be read of it.
// An unknown group was under way: none runs for the rest of this boot. It is not
// for longer, lest damage block everything for ever, and it is for so long, lest
// a crash that damages the journal each time be a boot loop.
func (g *Guard) setAside(b []byte, why error) error {
	g.damage = &DamagedError{Path: g.path(), Why: why}
	var err error
	if b == nil {
		g.damage.MovedTo, err = moveAside(g.fl, g.dir, g.path(), g.now())
	} else {
		g.damage.MovedTo, err = copyAside(g.fl, g.dir, g.path(), b, g.now())
	}
	if err != nil {
		return err
	}
	g.notes = append(g.notes, entry{Op: opBegin, Group: AnyGroup, Boot: g.boot, Build: g.build, Time: g.now()})
	g.rewrite = true
	return g.flush()
}

// Begin notes that a group is about to run. Where it returns an error the group
// must not run.
func (g *Guard) Begin(group string) error {
	if group == "" || group == AnyGroup {
		return fmt.Errorf("begin group %q: not a group's name", group)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e := entry{Op: opBegin, Group: group, Boot: g.boot, Build: g.build, Time: g.now()}
	before := g.notes
	g.notes = apply(slices.Clone(g.notes), e)
	g.pending = append(g.pending, e)
	if err := g.flush(); err != nil {
		g.notes = before
		return err
	}
	return nil
}

// End notes that a group that was begun is done. It is written with the next
// Begin or by Close.
func (g *Guard) End(group string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.ContainsFunc(g.notes, func(n entry) bool { return n.Group == group && n.Boot == g.boot }) {
		return fmt.Errorf("end group %s: it was not begun", group)
	}
	g.add(opEnd, group)
	return nil
}

// Clear lets a group that is blocked run again, AnyGroup too; it is written at
// once. It reports whether the group was blocked.
func (g *Guard) Clear(group string) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.ContainsFunc(g.notes, func(n entry) bool { return n.Group == group && g.blocks(n) }) {
		return false, nil
	}
	g.add(opClear, group)
	return true, g.flush()
}

func (g *Guard) add(op, group string) {
	e := entry{Op: op, Group: group, Boot: g.boot, Build: g.build, Time: g.now()}
	g.notes = apply(g.notes, e)
	g.pending = append(g.pending, e)
}

// blocks reports whether a note keeps its group from running.
func (g *Guard) blocks(n entry) bool {
	return (n.Boot != g.boot || n.Group == AnyGroup) && mayBeSameBuild(n.Build, g.build)
}

// Blocked lists the groups that must not run on this kernel, each with the
// reason; AnyGroup stands for all.
func (g *Guard) Blocked() map[string]string {
	out := map[string]string{}
	for _, n := range g.Notes() {
		switch {
		case !n.Blocks:
		case n.Group == AnyGroup:
			out[n.Group] = "the crash guard's journal was damaged and it cannot be told which group was under way: none runs in this boot"
		default:
			out[n.Group] = fmt.Sprintf("it was under way when boot %s ended (begun %s), so it is not run again on this kernel build",
				n.Boot, n.Time.UTC().Format(time.RFC3339))
		}
	}
	return out
}

// Notes lists all notes that are open, but for those of groups that this process
// has under way, oldest first.
func (g *Guard) Notes() []Note {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Note
	for _, n := range g.notes {
		if n.Boot != g.boot || n.Group == AnyGroup {
			out = append(out, Note{Group: n.Group, Boot: n.Boot, Build: n.Build, Time: n.Time, Blocks: g.blocks(n)})
		}
	}
	return out
}

// Killed lists the groups whose process was killed in this boot.
func (g *Guard) Killed() []string { return slices.Clone(g.killed) }

// Damaged says that the journal was found damaged when it was opened, or is nil.
func (g *Guard) Damaged() *DamagedError { return g.damage }

// Close writes the ends that are not written yet and gives the lock up.
func (g *Guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lock == nil {
		return nil
	}
	var err error
	if len(g.pending) > 0 || g.rewrite {
		err = g.flush()
	}
	if cerr := g.lock.Close(); err == nil {
		err = fileErr("unlock", filepath.Join(g.dir, journalLock), cerr)
	}
	g.lock = nil
	return err
}

// flush makes the file say what the notes say. After an error it cannot be told
// what the file holds, so the next one writes it anew.
func (g *Guard) flush() error {
	if g.lock == nil {
		return fmt.Errorf("write %s: the crash guard is closed", g.path())
	}
	if g.rewrite {
		if err := replace(g.fl, g.path(), encodeJournal(g.notes)); err != nil {
			return err
		}
	} else if err := appendTo(g.fl, g.path(), encodeJournal(g.pending), g.fresh); err != nil {
		g.rewrite = true
		return err
	}
	g.pending, g.rewrite, g.fresh = nil, false, false
	return nil
}
