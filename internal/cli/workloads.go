package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/internal/baseline"
	"lastgood/internal/boot"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/workload"
	"lastgood/loader"
	"lastgood/probes"
)

// findPatience bounds the search for objects, and reading them.
const findPatience = 5 * time.Second

// workloads are the entries of the configuration, or the places that are known.
func (s *session) workloads() []workload.Spec {
	if s.config.Workloads == nil {
		return workload.Defaults()
	}
	return *s.config.Workloads
}

// nodeObjects is what this node's agents load now, together with what they loaded at the
// last good boot, which base is the snapshot of (nil: none). The bytes of those are in
// the store.
func (s *session) nodeObjects(ctx context.Context, base *snapshot.Snapshot, store *baseline.Store, release string) workload.Set {
	if !s.root.Live() {
		return workload.Set{}
	}
	ctx, stop := context.WithTimeout(ctx, findPatience)
	defer stop()
	specs := s.workloads()
	finder := workload.Finder{Release: release}
	now := finder.Find(ctx, specs)
	if base == nil {
		return now
	}
	return workload.Merge(workload.Kept(base, specs, store.ObjectFile, store.Object), now, specs, release)
}

// presentObjects are those that are there now, nothing being remembered.
func (s *session) presentObjects(ctx context.Context) *objectRun {
	release, _ := s.root.Attr(ctx, releaseFile)
	return s.newObjectRun(ctx, s.nodeObjects(ctx, nil, nil, release), false)
}

// objectRun measures a set of objects: what is remembered is recalled, the rest is left
// to the measuring process.
type objectRun struct {
	set      workload.Set
	cache    *workload.Cache
	fresh    []loader.ObjectFile
	recalled []snapshot.Subject
	// surface adds what the programs lean on.
	surface bool
}

func (s *session) newObjectRun(ctx context.Context, set workload.Set, remember bool) *objectRun {
	if !s.root.Live() {
		return nil // a recording holds no objects, which does not mean that there are none
	}
	r := &objectRun{set: set, cache: &workload.Cache{}, surface: true}
	if remember && len(set.Files) > 0 {
		r.cache.Dir = filepath.Join(s.stateDir, "measured")
		id := boot.Identify(ctx, s.root)
		r.cache.Host = workload.HostKey(&id, tool()+" "+thisProgram())
	}
	for i := range set.Files {
		f := &set.Files[i]
		if f.Idle {
			continue
		}
		if known := r.cache.Recall(f); known != nil {
			r.recalled = append(r.recalled, known...)
			continue
		}
		r.fresh = append(r.fresh, f.ObjectFile)
	}
	return r
}

// thisProgram names the running executable, so that another build measures anew.
func thisProgram() string {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		return err.Error()
	}
	return fmt.Sprint(st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
}

// recalledSource is the name of the source of what was measured before.
const recalledSource = "objects_recalled"

// sources are those that the set needs besides the usual ones.
func (r *objectRun) sources() []source.Source {
	out := []source.Source{r.set.Source(), probes.Objects(r.fresh)}
	if r.surface {
		out = append(out, probes.Surface(r.set.ObjectFiles()))
	}
	if len(r.recalled) > 0 {
		out = append(out, source.Source{
			Name:  recalledSource,
			Doc:   "objects that were measured before\n\nWhat this very kernel made of the same bytes.",
			Kinds: []snapshot.Kind{probes.ProgramKind()},
			Read:  func(context.Context, source.Host) ([]snapshot.Subject, error) { return r.recalled, nil },
		})
	}
	return out
}

// input tells the measuring process what to make its steps from.
func (r *objectRun) input() (json.RawMessage, error) {
	in := measureInput{Objects: r.fresh, Surface: r.surface}
	if r.surface {
		in.Leaning = r.set.ObjectFiles()
	}
	return in.encode()
}

// remember keeps what was measured now.
func (r *objectRun) remember(snap *snapshot.Snapshot) error {
	by := map[string][]snapshot.Subject{}
	for i := range snap.Subjects {
		if sub := &snap.Subjects[i]; sub.Kind == probes.ProgramKind().Name {
			by[sub.Text("object")] = append(by[sub.Text("object")], *sub)
		}
	}
	fresh := map[string]bool{}
	for _, f := range r.fresh {
		fresh[f.Name] = true
	}
	var errs []error
	for i := range r.set.Files {
		if f := &r.set.Files[i]; fresh[f.Name] {
			errs = append(errs, r.cache.Remember(f, by[f.Name]))
		}
	}
	errs = append(errs, r.cache.Prune())
	return errors.Join(errs...)
}

// keepObjects keeps the bytes of everything that a snapshot was taken with, so that it
// can be verified when its agent is not up yet, and gives up what neither it nor the last
// good boot needs. What cannot be kept is said.
func keepObjects(store *baseline.Store, set workload.Set, base *snapshot.Snapshot) []string {
	var notes []string
	var digests []string
	for i := range set.Files {
		f := &set.Files[i]
		digests = append(digests, f.Digest, f.ValuesDigest)
	}
	if base != nil {
		for i := range base.Subjects {
			if sub := &base.Subjects[i]; sub.Kind == workload.ObjectKind {
				digests = append(digests, sub.Text("digest"), sub.Text("values"))
			}
		}
	}
	if err := store.PruneObjects(digests); err != nil {
		notes = append(notes, "objects that nobody needs were not removed: "+err.Error())
	}
	for i := range set.Files {
		if err := keepObject(store, &set.Files[i]); err != nil {
			notes = append(notes, fmt.Sprintf("%s is not kept for the next boot: %s", set.Files[i].Name, hintText(err)))
		}
	}
	return notes
}

func keepObject(store *baseline.Store, f *workload.File) error {
	if len(f.Values) > 0 {
		if err := store.PutObject(f.ValuesDigest, f.Values, 0); err != nil {
			return err
		}
	}
	if f.State != workload.Present {
		return nil // its bytes are where they were read
	}
	b, err := f.Read()
	if err != nil {
		return err
	}
	return store.PutObject(f.Digest, b, 0)
}

// givenObjects are objects named on the command line.
func givenObjects(ctx context.Context, paths []string, spec workload.Spec, release string) (workload.Set, error) {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return workload.Set{}, fmt.Errorf("find object %s: %w", p, pathless(err))
		}
	}
	spec.Name, spec.Objects = "given", paths
	finder := workload.Finder{Release: release}
	set := finder.Find(ctx, []workload.Spec{spec})
	if len(set.Files)+len(set.Problems) == 0 {
		return set, fmt.Errorf("find objects: there is no *.o in %s", paths[0])
	}
	return set, nil
}
