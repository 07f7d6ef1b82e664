package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Keeper keeps what is sampled: the state folder. Its methods may fail while another
// process writes there; what is not kept is tried again.
type Keeper interface {
	Append(ctx context.Context, line []byte) error
	Fold(ctx context.Context, h *History) error
	Note(ctx context.Context, text string) error
}

// Options are what a watch leans on.
type Options struct {
	Read  func(context.Context) (Sample, error)
	Book  *Book
	Keep  Keeper
	Hints <-chan Hint      // nil: none
	Tick  <-chan time.Time // when to sample
	Now   func() time.Time
	Guard *Guard // nil: nothing is ever shut down
	Log   *slog.Logger
}

const (
	// maxPending bounds the lines that wait for the state folder.
	maxPending = 1000
	// quiet is how far apart hints must be to matter: one device brings a hundred.
	quiet = 10 * time.Second
	// settle is how long after a hint the early sample is taken.
	settle = 2 * time.Second
)

type watch struct {
	Options
	pending  [][]byte
	mustFold bool
	hinted   time.Time
	dropped  int // hints passed over since the last one that was noted
}

// Run samples at once and then at every tick, until ctx is done. It returns an error only
// where nothing at all could be kept at the end.
func Run(ctx context.Context, o Options) error {
	w := &watch{Options: o}
	w.sample(ctx)
	var early <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return w.end()
		case <-o.Tick:
			w.sample(ctx)
		case <-early:
			early = nil
			w.sample(ctx)
		case h, open := <-w.Hints:
			if !open {
				w.Hints = nil
				continue
			}
			if w.hint(ctx, h) {
				early = time.After(settle)
			}
		}
	}
}

// Once takes one sample and keeps it.
func Once(ctx context.Context, o Options) error {
	w := &watch{Options: o}
	if err := w.take(ctx); err != nil {
		return err
	}
	return w.flush(ctx)
}

// end keeps what is left, within a moment: the service manager is waiting.
func (w *watch) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return w.flush(ctx)
}

func (w *watch) sample(ctx context.Context) {
	if err := w.take(ctx); err != nil {
		w.Log.Warn("sample", "error", err)
		return
	}
	if err := w.flush(ctx); err != nil {
		w.Log.Warn("keep samples for later", "waiting", len(w.pending), "error", err)
	}
}

// take reads a sample and puts it in the book.
func (w *watch) take(ctx context.Context) error {
	s, err := w.Read(ctx)
	if err != nil {
		return err
	}
	for _, e := range s.Errs {
		w.Log.Debug("sample", "error", e)
	}
	if w.Guard != nil {
		w.guard(ctx, s)
	}
	text, grew, err := w.Book.Add(s)
	if err != nil {
		return err
	}
	w.mustFold = w.mustFold || grew
	if len(w.pending) < maxPending {
		w.pending = append(w.pending, text)
	} else {
		w.mustFold = true // the document has them all
	}
	return nil
}

// guard feeds the shutdown helper.
func (w *watch) guard(ctx context.Context, s Sample) {
	why, err := w.Guard.Feed(ctx, s)
	if why == "" {
		return
	}
	text := "shutdown: " + why
	if err != nil {
		text += ": failed: " + err.Error()
	}
	w.Log.Error(text)
	if err := w.Keep.Note(ctx, text); err != nil {
		w.Log.Error("note the shutdown", "error", err)
	}
}

// flush keeps what is pending. Where the order of the series grew, or the log did, the
// document is written whole; it holds all pending samples.
func (w *watch) flush(ctx context.Context) error {
	if w.mustFold || w.Book.Due() {
		if err := w.Keep.Fold(ctx, w.Book.History()); err != nil {
			return err
		}
		w.Book.Written()
		w.pending, w.mustFold = nil, false
		return nil
	}
	for len(w.pending) > 0 {
		if err := w.Keep.Append(ctx, w.pending[0]); err != nil {
			return err
		}
		w.pending = w.pending[1:]
	}
	return nil
}

// hint notes a hint and reports whether it is worth an early sample.
func (w *watch) hint(ctx context.Context, h Hint) bool {
	now := w.Now()
	if !w.hinted.IsZero() && now.Sub(w.hinted) < quiet {
		w.dropped++
		return false
	}
	w.hinted = now
	text := h.From + ": " + h.Text
	if w.dropped > 0 {
		text += fmt.Sprintf(" (%d more were passed over)", w.dropped)
	}
	w.dropped = 0
	if err := w.Keep.Note(ctx, text); err != nil && !errors.Is(err, context.Canceled) {
		w.Log.Warn("note a hint", "error", err)
	}
	return true
}
