package sysfs

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Recorder is a view of a host's files that keeps whatever is asked of it and what it
// answered, errors included: what the same questions need to be answered again. Nothing
// is read that nobody asks for. It may be used from many goroutines.
//
// What block devices hold is never read: that is people's data. They answer ENODATA.
type Recorder struct {
	under FS
	stand map[string][]byte // files that stand for what is none

	mu      sync.Mutex
	entries map[string]*Entry
	pending map[string]int // asked, and no answer yet
}

// NewRecorder records what is asked of this host or of under; nil means this host. stand are
// files laid over it: a recording keeps the kernel's log in a file.
func NewRecorder(under FS, stand map[string][]byte) *Recorder {
	if under == nil {
		under = liveFS{}
	}
	return &Recorder{under: under, stand: stand, entries: map[string]*Entry{}, pending: map[string]int{}}
}

// Entry is one thing of a recording: a folder, a link, a file or an error.
type Entry struct {
	Dir   bool
	Link  string     // target, as written
	Data  []byte     // of a file
	Errno unix.Errno // what it answers with
	file  bool       // Data was read
}

// errUnasked is what a file answers that was listed and that nobody read: it is there,
// and the recording does not know what it holds.
const errUnasked = unix.ENODATA

// Recording is what a Recorder kept, by absolute path. What never answered is ETIMEDOUT.
func (r *Recorder) Recording() Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Recording{}
	for p, e := range r.entries {
		c := *e
		out[p] = &c
	}
	for p := range r.pending {
		if e := out[p]; e == nil || !e.Dir && e.Link == "" {
			out[p] = &Entry{Errno: unix.ETIMEDOUT}
		}
	}
	return out
}

func (r *Recorder) begin(name string) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[name]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.pending[name]--; r.pending[name] == 0 {
			delete(r.pending, name)
		}
	}
}

func (r *Recorder) known(p string) *Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[p]
}

// keep keeps an entry. What says more stays: a folder over a name that was only listed,
// an answer over none, the longer part of a file. A folder may have an error of its own,
// that of being listed.
func (r *Recorder) keep(p string, e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.entries[p]
	switch {
	case old == nil:
	case e.Errno == errUnasked || old.Link != "":
		return
	case old.Dir:
		// An entry is never changed in place: others read it without the lock.
		e = Entry{Dir: true, Errno: max(old.Errno, e.Errno)}
	case old.Errno == errUnasked:
	case e.Dir:
		e.Errno = old.Errno
	case old.file && len(old.Data) >= len(e.Data):
		return
	}
	r.entries[p] = &e
}

// failed keeps why a path did not answer; that it is not there needs no entry.
func (r *Recorder) failed(p string, err error) {
	var errno unix.Errno
	switch {
	case Absent(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) && r.known(p) != nil && r.known(p).Link != "":
	case errors.As(err, &errno):
		r.keep(p, Entry{Errno: errno})
	default:
		r.keep(p, Entry{Errno: unix.EIO})
	}
}

// real follows the links on the way to name, the last one only where follow is set, and
// keeps them. It gives the path as far as it leads.
func (r *Recorder) real(name string, follow bool) string {
	at, rest := "/", elements(name)
	for hops := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		e := r.step(next, len(rest) > 0)
		if e.Link == "" || !follow && len(rest) == 0 {
			at = next
			if e.Errno != 0 && e.Errno != errUnasked { // it leads nowhere
				return path.Join(append([]string{at}, rest...)...)
			}
			continue
		}
		if hops++; hops > maxHops {
			return next
		}
		if path.IsAbs(e.Link) {
			at = "/"
		}
		rest = append(elements(e.Link), rest...)
	}
	return at
}

// step is what a path is on the way to another one; an entry of ENOENT where it is not there.
func (r *Recorder) step(p string, onward bool) Entry {
	if e := r.known(p); e != nil && (e.Dir || e.Link != "" || !onward) {
		return *e
	}
	target, err := r.under.Readlink(p)
	switch {
	case err == nil && target != "":
		r.keep(p, Entry{Link: target})
		return Entry{Link: target}
	case Absent(err) || errors.Is(err, unix.ENOTDIR):
		return Entry{Errno: unix.ENOENT}
	case errors.Is(err, unix.EINVAL):
		if onward {
			r.keep(p, Entry{Dir: true})
		}
		return Entry{}
	}
	r.failed(p, err)
	return Entry{}
}

// ReadFile reads a file and keeps what it answered.
func (r *Recorder) ReadFile(name string, max int) ([]byte, error) {
	name = path.Clean(name)
	if b, ok := r.stand[name]; ok {
		r.keep(name, Entry{Data: b, file: true})
		return slices.Clone(b[:min(max, len(b))]), nil
	}
	defer r.begin(name)()
	p := r.real(name, true)
	b, err := r.under.ReadFile(name, max)
	if err != nil {
		r.failed(p, err)
		return nil, err
	}
	r.keep(p, Entry{Data: slices.Clone(b), file: true})
	return b, nil
}

// ReadDir lists a folder, and keeps that its names are there.
func (r *Recorder) ReadDir(name string) ([]string, error) {
	name = path.Clean(name)
	defer r.begin(name)()
	p := r.real(name, true)
	names, err := r.under.ReadDir(name)
	if err != nil {
		r.failed(p, err)
		return nil, err
	}
	r.keep(p, Entry{Dir: true})
	for _, n := range names {
		r.there(path.Join(p, n))
	}
	return names, nil
}

// there keeps that a path is there, and where it leads if it is a link.
func (r *Recorder) there(p string) {
	if e := r.step(p, false); e.Link == "" && e.Errno != unix.ENOENT {
		r.keep(p, Entry{Errno: errUnasked})
	}
}

// Readlink reads a link and keeps its target.
func (r *Recorder) Readlink(name string) (string, error) {
	name = path.Clean(name)
	defer r.begin(name)()
	p := r.real(name, false)
	target, err := r.under.Readlink(name)
	switch {
	case err == nil:
		r.keep(p, Entry{Link: target})
	case errors.Is(err, unix.EINVAL):
		r.there(p)
	default:
		r.failed(p, err)
	}
	return target, err
}

// Exists keeps that a path is there, if it is.
func (r *Recorder) Exists(name string) (bool, error) {
	name = path.Clean(name)
	if _, ok := r.stand[name]; ok {
		return true, nil
	}
	defer r.begin(name)()
	p := r.real(name, false)
	there, err := r.under.Exists(name)
	switch {
	case err != nil:
		r.failed(p, err)
	case there:
		r.there(p)
	}
	return there, err
}

// ReadSpans answers for block devices, which are not read.
func (r *Recorder) ReadSpans(name, _ string, _ []Span) ([][]byte, error) {
	there, err := r.Exists(name)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, unix.ENOENT
	}
	r.keep(r.real(name, true), Entry{Errno: unix.ENODATA})
	return nil, unix.ENODATA
}

// Recording is a host's files by absolute path.
type Recording map[string]*Entry

// Paths are the recording's paths, sorted.
func (r Recording) Paths() []string { return slices.Sorted(maps.Keys(r)) }

// Within are the paths at and below a folder, sorted.
func (r Recording) Within(dir string) []string {
	return slices.DeleteFunc(r.Paths(), func(p string) bool { return p != dir && !strings.HasPrefix(p, dir+"/") })
}
