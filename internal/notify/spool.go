package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/baseline"
)

// Spool keeps what was not sent yet: a sealed document a message, by number, so that what
// an earlier boot had to say goes first whatever the clock was then.
type Spool struct {
	Folder *baseline.Folder
	Config *Config
	Now    func() time.Time
	// BootID is this boot's.
	BootID string
}

// waiting is what is known of one message at one target.
type waiting struct {
	Target string    `json:"target"`
	Tries  int       `json:"tries"`
	First  time.Time `json:"first,omitzero"`
	Next   time.Time `json:"next,omitzero"`
	Error  string    `json:"error,omitempty"`
	// Refused: the target answered, and does not want this message.
	Refused bool `json:"refused,omitempty"`
}

// item is a document of the spool.
type item struct {
	Schema  string    `json:"schema"`
	Message Message   `json:"message"`
	Waiting []waiting `json:"waiting"`
}

const itemSchema = "lastgood.spool/v1"

// Bounds of the spool and of patience. A message is given up after a day and after as many
// tries as a day has room for: a clock that jumps makes a day of a second.
const (
	maxItems   = 200
	giveUp     = 24 * time.Hour
	minTries   = 24
	firstDelay = 30 * time.Second
	maxDelay   = time.Hour
	flushLock  = "flush.lock"
)

// delay is how long to wait after so many tries: 30 s, 1 min, 2 min … 1 h.
func delay(tries int) time.Duration {
	return min(firstDelay<<min(max(tries-1, 0), 10), maxDelay)
}

// FullError is that messages were given up to make room for one that was written.
type FullError struct{ GivenUp []string }

func (e *FullError) Error() string {
	return fmt.Sprintf("the spool is full, %d messages wait: given up unsent: %s", maxItems, strings.Join(e.GivenUp, ", "))
}

// Add writes a message down for all that are to get it, and numbers it. Where nobody is
// to get it nothing is written. A *FullError is that it was written and others were given up.
func (s *Spool) Add(m *Message) error {
	names, err := s.Folder.Names()
	if err != nil {
		return fmt.Errorf("spool message: %w", err)
	}
	m.Number = 1
	for _, n := range names {
		m.Number = max(m.Number, number(n)+1)
	}
	it := item{Schema: itemSchema, Message: *m}
	for _, t := range s.Config.targets() {
		if t.wants(m) {
			it.Waiting = append(it.Waiting, waiting{Target: t.name})
		}
	}
	if len(it.Waiting) == 0 {
		return nil
	}
	var full FullError
	for len(names) >= maxItems {
		full.GivenUp = append(full.GivenUp, s.keyOf(names[0]))
		if err := s.Folder.Remove(names[0]); err != nil {
			return fmt.Errorf("make room in the spool: %w", err)
		}
		names = names[1:]
	}
	// Two that add at once have names of their own by the process.
	name := fmt.Sprintf("%012d-%d.json", m.Number, os.Getpid())
	if err := s.Folder.Put(name, it); err != nil {
		return fmt.Errorf("spool message: %w", err)
	}
	if len(full.GivenUp) > 0 {
		return &full
	}
	return nil
}

// keyOf is what the message of a document is told by, or the document's name.
func (s *Spool) keyOf(name string) string {
	var it item
	if err := s.Folder.Get(name, &it, false); err != nil {
		return name
	}
	return it.Message.Key()
}

// number is a document's by its name, 0 where it has none.
func number(name string) int64 {
	digits, _, _ := strings.Cut(name, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Result is what a flush came to.
type Result struct {
	Sent, Left, Dropped int
	// Notes say what could not be sent, a line each.
	Notes []string
	// Busy: another process is sending.
	Busy bool
}

// Flush sends what is due, the oldest first. A target that does not answer is left for
// later with all that is for it, so that what it gets is in order. force sends also what
// is not due yet.
func (s *Spool) Flush(ctx context.Context, force bool) (Result, error) {
	var r Result
	lock, err := s.Folder.Lock(flushLock)
	var held *baseline.LockedError
	if errors.As(err, &held) {
		r.Busy = true
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("flush spool: %w", err)
	}
	defer lock.Close()
	names, err := s.Folder.Names()
	if err != nil {
		return r, fmt.Errorf("flush spool: %w", err)
	}
	f := flush{s: s, r: &r, force: force, deaf: map[string]bool{}, by: map[string]target{}}
	for _, t := range s.Config.targets() {
		f.by[t.name] = t
	}
	for _, n := range names {
		if err := f.one(ctx, n); err != nil {
			return r, errors.Join(err, f.remember())
		}
	}
	return r, f.remember()
}

// flush is one under way.
type flush struct {
	s     *Spool
	r     *Result
	force bool
	by    map[string]target
	deaf  map[string]bool // targets that did not answer
	sent  []Delivery
}

func (f *flush) one(ctx context.Context, name string) error {
	var it item
	err := f.s.Folder.Get(name, &it, true)
	var damaged *baseline.DamagedError
	switch {
	case errors.As(err, &damaged):
		f.note("%v", err)
		return f.s.Folder.Remove(name)
	case err != nil:
		return fmt.Errorf("flush spool: %w", err)
	case it.Schema != itemSchema:
		f.note("%s is of another version of lastgood and stays", name)
		return nil
	}
	before := slices.Clone(it.Waiting)
	it.Waiting = slices.DeleteFunc(it.Waiting, func(w waiting) bool { return f.done(ctx, &it.Message, w) })
	for i := range it.Waiting {
		f.attempt(ctx, &it.Message, &it.Waiting[i])
	}
	it.Waiting = slices.DeleteFunc(it.Waiting, func(w waiting) bool { return w.Target == "" })
	f.r.Left += len(it.Waiting)
	switch {
	case len(it.Waiting) == 0:
		return f.s.Folder.Remove(name)
	case !slices.Equal(before, it.Waiting):
		return f.s.Folder.Put(name, it)
	}
	return nil
}

func (f *flush) note(format string, args ...any) {
	f.r.Notes = append(f.r.Notes, fmt.Sprintf(format, args...))
}

// done reports whether there is nothing to send any more: nobody asks for it, or it was
// tried for long enough.
func (f *flush) done(_ context.Context, m *Message, w waiting) bool {
	t, known := f.by[w.Target]
	switch {
	case !known:
		f.note("%s is not in the configuration any more: %s is not sent there", w.Target, m.Key())
	case t.fresh && m.BootID != f.s.BootID:
		f.note("%s is of an earlier boot: %s is not sent there", m.Key(), w.Target)
	case w.Tries >= minTries && f.s.Now().Sub(w.First) >= giveUp:
		f.note("given up after %d tries: %s to %s: %s", w.Tries, m.Key(), w.Target, w.Error)
	default:
		return false
	}
	f.r.Dropped++
	return true
}

// attempt sends to one target where it is due. What was sent waits no more, which an
// empty name says.
func (f *flush) attempt(ctx context.Context, m *Message, w *waiting) {
	now := f.s.Now()
	early := now.Before(w.Next) && w.Next.Sub(now) <= maxDelay // else the clock was set back
	if f.deaf[w.Target] || ctx.Err() != nil {
		return
	}
	if early && !f.force {
		f.deaf[w.Target] = !w.Refused // what comes after it waits as well
		return
	}
	once, cancel := context.WithTimeout(ctx, 2*Patience)
	defer cancel()
	m.sent = now
	err := f.by[w.Target].send(once, m)
	if err == nil {
		f.r.Sent++
		f.sent = append(f.sent, Delivery{w.Target, m.Event, m.BootID, now})
		w.Target = ""
		return
	}
	if w.First.IsZero() || now.Before(w.First) {
		w.First = now
	}
	w.Tries++
	w.Next, w.Error = now.Add(delay(w.Tries)), oneLine(err.Error(), maxFinding)
	f.note("%s to %s: %s", m.Key(), w.Target, w.Error)
	var refused refusedError
	w.Refused = errors.As(err, &refused)
	f.deaf[w.Target] = !w.Refused
}

// Waiting lists what is in the spool, for people: a line each.
func (s *Spool) Waiting() ([]string, error) {
	names, err := s.Folder.Names()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		var it item
		if err := s.Folder.Get(n, &it, false); err != nil {
			out = append(out, err.Error())
			continue
		}
		for _, w := range it.Waiting {
			out = append(out, fmt.Sprintf("%s to %s: %d tries, %s", it.Message.Key(), w.Target, w.Tries, cmp.Or(w.Error, "not tried yet")))
		}
	}
	return out, nil
}
