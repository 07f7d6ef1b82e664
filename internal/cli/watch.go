package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/watch"
)

func watchCommand() command {
	return command{
		name: "watch", summary: "sample temperatures, fans, power and load into a history",
		long: `Samples temperatures, fans, power, load and how often heat slowed the CPUs down, at once
and then at every interval, into a history of this boot in the state folder, until it is
told to end. What runs hotter than under the last good kernel at the same load is then a
finding of ` + "`check`" + `, and --print shows the two side by side. Too few samples at the same
load are "not comparable yet".

Uevents and kernel messages about heat bring the next sample forward.

While the last good boot runs, the objects of this node's agents are looked at every half
hour, and measured and kept anew where they changed.

With --shutdown-above the host is shut down where sensors of two devices are above that
temperature in three samples in a row. Nothing is ever shut down without it.`,
		status:  "The exit status is 0, 2 where it could not begin, 3 where no sample could be taken or there is none to print.",
		example: "lastgood watch --print",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			w := &watcher{}
			f.DurationVar(&w.every, "interval", time.Minute, "`TIME` between samples")
			f.BoolVar(&w.once, "once", false, "take one sample and end: for a timer")
			f.BoolVar(&w.show, "print", false, "print this boot's history beside the last good kernel's")
			f.Float64Var(&w.shutdownAbove, "shutdown-above", 0, "shut the host down above this temperature in `CELSIUS` (default: never)")
			return w.run
		},
	}
}

const (
	// leastInterval keeps the sampling itself from warming anything.
	leastInterval = 5 * time.Second
	mostInterval  = time.Hour
	// loadWindow is over what a single sample takes the load, where none was taken lately.
	loadWindow = time.Second
)

type watcher struct {
	every         time.Duration
	once, show    bool
	shutdownAbove float64

	s     *session
	store *baseline.Store
}

func (w *watcher) run(ctx context.Context, s *session, args []string) (int, error) {
	w.s = s
	if err := noArguments(args); err != nil {
		return exitUsage, err
	}
	if w.every < leastInterval || w.every > mostInterval {
		return exitUsage, fmt.Errorf("--interval %v: it must be between 5s and 1h", w.every)
	}
	if w.once && (w.show || w.shutdownAbove != 0) {
		return exitUsage, errors.New("--once takes one sample: it goes with neither --print nor --shutdown-above")
	}
	var err error
	if w.store, err = s.openStore(ctx); err != nil {
		return exitUsage, err
	}
	if w.show {
		return w.print(ctx)
	}
	if s.rootPath != "" {
		return exitUsage, hinted(errors.New("watch --root: a recorded host does not change"), "leave --root out, or add --print")
	}
	return w.sample(ctx)
}

// sample is the command without --print.
func (w *watcher) sample(ctx context.Context) (int, error) {
	var guard *watch.Guard
	var err error
	if w.shutdownAbove != 0 {
		if guard, err = watch.NewGuard(w.shutdownAbove); err != nil {
			return exitUsage, err
		}
	}
	only, err := w.store.LockWatch()
	if err != nil {
		return exitUsage, err
	}
	defer only.Close()
	book, keep, err := w.open(ctx)
	if err != nil {
		return exitUsage, err
	}
	sampler := &watch.Sampler{Host: w.s.host()}
	o := watch.Options{Read: sampler.Read, Book: book, Keep: keep, Now: time.Now, Guard: guard, Log: w.s.host().Log}
	resumed := sampler.Resume(book, 2*mostInterval)
	if w.once {
		if !resumed {
			err = prime(ctx, sampler)
		}
		if err == nil {
			err = watch.Once(ctx, o)
		}
		return status(err, exitIncomplete), errors.Join(err, w.s.warnDamaged(w.store))
	}
	hints, err := watch.Hints(ctx)
	if err != nil {
		o.Log.Warn("follow hints", "error", err) // they only bring samples forward
	}
	follow, stop := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		w.followObjects(follow, objectsFirst, objectsEvery)
	}()
	defer func() { stop(); <-followed }()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	o.Tick, o.Hints = tick.C, hints
	err = watch.Run(ctx, o)
	return status(err, exitIncomplete), errors.Join(err, w.s.warnDamaged(w.store))
}

func status(err error, failed int) int {
	if err != nil {
		return failed
	}
	return exitOK
}

// prime takes a sample that is not kept, so that the next one has a load.
func prime(ctx context.Context, sampler *watch.Sampler) error {
	if _, err := sampler.Read(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(loadWindow)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// open reads this boot's history, under the lock so that what is damaged is moved aside.
func (w *watcher) open(ctx context.Context) (*watch.Book, *keeper, error) {
	k := &keeper{store: w.store}
	var err error
	if k.boot, err = w.s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id"); err != nil {
		return nil, nil, err
	}
	if k.release, err = w.s.root.Attr(ctx, "/proc/sys/kernel/osrelease"); err != nil {
		return nil, nil, err
	}
	var book *watch.Book
	err = k.locked(ctx, func() error {
		doc, lines, err := w.store.History(k.boot)
		if err != nil {
			return err
		}
		book, err = watch.Decode(doc, lines)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	book.Begin(k.boot, k.release)
	return book, k, nil
}

// keeper keeps samples in the state folder. It holds the store's lock for each writing
// alone, so that a check is never kept waiting.
type keeper struct {
	store         *baseline.Store
	boot, release string
}

func (k *keeper) locked(ctx context.Context, f func() error) error {
	if err := lock(ctx, k.store); err != nil {
		return err
	}
	return errors.Join(f(), k.store.Close())
}

func (k *keeper) Append(ctx context.Context, line []byte) error {
	return k.locked(ctx, func() error { return k.store.AppendHistory(k.boot, line) })
}

func (k *keeper) Fold(ctx context.Context, h *watch.History) error {
	return k.locked(ctx, func() error { return k.store.FoldHistory(k.boot, h) })
}

// eventWatch is the type of the watch's lines in the time line.
const eventWatch = "watch"

func (k *keeper) Note(ctx context.Context, text string) error {
	return k.locked(ctx, func() error {
		return k.store.AppendEvent(baseline.Event{Type: eventWatch, BootID: k.boot, Release: k.release, Text: text})
	})
}
