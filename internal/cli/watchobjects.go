package cli

import (
	"context"
	"slices"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
)

// The objects of the last good boot are looked at again while it runs: agents are updated,
// and what they load at the next boot is then what is to be verified.
const (
	objectsFirst = 10 * time.Minute // agents come up within
	objectsEvery = 30 * time.Minute
)

// byWatch is who accepts objects that changed under the last good boot.
const byWatch = "the watch, for its objects changed"

// followObjects keeps the objects of the last good boot up to date until ctx is done.
func (w *watcher) followObjects(ctx context.Context, first, every time.Duration) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := w.refreshObjects(ctx); err != nil && ctx.Err() == nil {
			w.s.host().Log.Warn("look at the agents' objects", "err", err)
		}
		timer.Reset(every)
	}
}

// refreshObjects measures and keeps the objects where this boot is the last good one and
// they are others than it was accepted with. The rest of the accepted snapshot stays.
func (w *watcher) refreshObjects(ctx context.Context) error {
	boot, err := w.s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	good, record, err := w.store.LastGood()
	if err != nil || record.BootID != boot {
		return nil // nothing to keep up to date; a damaged one is told by the check
	}
	s := *w.s
	s.quiet = true
	release, _ := s.root.Attr(ctx, releaseFile)
	set := s.nodeObjects(ctx, nil, w.store, release)
	if len(set.Files) == 0 || slices.Equal(digests(set.Files), acceptedDigests(good)) {
		return nil
	}
	store, err := s.openStore(ctx) // one of its own, whose lock is not the samples'
	if err != nil {
		return err
	}
	defer store.Close()
	if err := lock(ctx, store); err != nil {
		return err
	}
	notes, err := s.takeObjects(ctx, store, good)
	if err != nil {
		return err
	}
	if _, err := store.Accept(boot, byWatch); err != nil {
		return err
	}
	for _, n := range notes {
		s.host().Log.Warn("keep objects", "note", n)
	}
	return store.AppendEvent(baseline.Event{Type: eventWatch, BootID: boot, Release: record.Release, Text: "the agents' objects changed and were measured anew"})
}

func digests(files []workload.File) []string {
	var out []string
	for i := range files {
		out = append(out, files[i].Digest+" "+files[i].ValuesDigest)
	}
	slices.Sort(out)
	return out
}

// acceptedDigests are those of the objects that a snapshot was taken with.
func acceptedDigests(s *snapshot.Snapshot) []string {
	var out []string
	for i := range s.Subjects {
		if sub := &s.Subjects[i]; sub.Kind == workload.ObjectKind && sub.Outcome == snapshot.Measured {
			out = append(out, sub.Text("digest")+" "+sub.Text("values"))
		}
	}
	slices.Sort(out)
	return out
}
