package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"lastgood/internal/snapshot"
	"lastgood/internal/workload"
	"lastgood/loader"
)

// references measures the kernel to compare with once for each set of objects: agents
// that pick by the kernel's version have others for another candidate.
func (p *preflighter) references(ctx context.Context) func([]loader.ObjectFile) (*snapshot.Snapshot, error) {
	var mu sync.Mutex
	known := map[string]func() (*snapshot.Snapshot, error){}
	return func(files []loader.ObjectFile) (*snapshot.Snapshot, error) {
		mu.Lock()
		key := fmt.Sprint(files)
		if known[key] == nil {
			known[key] = sync.OnceValues(func() (*snapshot.Snapshot, error) { return p.reference(ctx, files) })
		}
		measure := known[key]
		mu.Unlock()
		return measure()
	}
}

// objectsFor are the objects that a candidate is tried with: those that were named, else
// those of this node's agents.
func (p *preflighter) objectsFor(ctx context.Context, release string) ([]loader.ObjectFile, error) {
	if len(p.objects) > 0 {
		set, err := givenObjects(ctx, p.objects, workload.Spec{}, release)
		for _, problem := range set.Problems {
			err = errors.Join(err, errors.New(problem.Why))
		}
		return set.ObjectFiles(), err
	}
	if len(p.families) > 0 || p.builtin {
		return nil, nil
	}
	base, _, err := p.store.LastGood()
	if err != nil {
		base = nil // what is there now is all there is
	}
	set := p.s.nodeObjects(ctx, base, p.store, release)
	return set.ObjectFiles(), nil
}

// paths are where the candidate's objects are read.
func (p *preflighter) paths(ctx context.Context, release string) []string {
	files, err := p.objectsFor(ctx, release)
	if err != nil {
		return p.objects // each is said to be unreadable where it is read
	}
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	return out
}
