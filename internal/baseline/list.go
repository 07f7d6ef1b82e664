package baseline

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Entry is one boot of the history.
type Entry struct {
	BootID  string
	Release string    // uname -r
	Taken   time.Time // when the newest snapshot was taken
	Phase   string    // and what asked for it
	Size    int64     // its size on disk, in bytes
	// Result is that of the boot's newest check; nil where there is none on record.
	Result *Result
	// Checked is when that was.
	Checked  time.Time
	LastGood bool
	Accepted time.Time // of the last good boot: when, and by whom
	By       string
	Current  bool
	// Err says why the snapshot cannot be used, though its file is there: then
	// Release, Taken and Phase are not known.
	Err error
}

// List is the history, newest boot first, in the order in which the boots were
// first noted: the clock may be wrong at a boot. A file that is damaged or of
// another version has an Err. An error besides the entries means that the time
// line or last-good could not be read, and verdicts or marks are wanting.
func (s *Store) List() ([]Entry, error) {
	s.work.Lock()
	defer s.work.Unlock()
	return s.list()
}

func (s *Store) list() ([]Entry, error) {
	infos, err := s.bootFiles()
	if err != nil {
		return nil, err
	}
	events, err := s.events()
	rec, recErr := s.record()
	if recErr != nil && !errors.Is(recErr, ErrNone) && !isLost(recErr) {
		err = errors.Join(err, recErr)
	}
	var entries []Entry
	for _, i := range infos {
		e, ok := s.entry(i, rec)
		if ok {
			entries = append(entries, e)
		}
	}
	order := map[string]int{}
	for n, ev := range events {
		if _, seen := order[ev.BootID]; !seen && ev.taken() {
			order[ev.BootID] = n
		}
	}
	addResults(entries, events)
	return newestFirst(entries, order), err
}

func isLost(err error) bool {
	var lost *LostError
	return errors.As(err, &lost)
}

// entry is what the list says of one file; false where it went away meanwhile.
func (s *Store) entry(i fileInfo, rec Record) (Entry, bool) {
	e := Entry{BootID: strings.TrimSuffix(i.Name, jsonExt), Size: i.Size}
	e.Current = e.BootID == s.o.BootID
	if e.BootID == rec.BootID {
		e.LastGood, e.Accepted, e.By = true, rec.Accepted, rec.By
	}
	h, err := s.readHeader(e.BootID)
	if errors.Is(err, fs.ErrNotExist) {
		return e, false
	}
	if err != nil {
		e.Err = err
		return e, true
	}
	e.Release, e.Taken, e.Phase = h.Identity.Kernel.Release, h.Taken, h.Phase
	return e, true
}

// addResults gives each boot its newest result.
func addResults(entries []Entry, events []Event) {
	at := map[string]*Entry{}
	for i := range entries {
		at[entries[i].BootID] = &entries[i]
	}
	for i := range events {
		if e := at[events[i].BootID]; e != nil && events[i].Result != nil {
			e.Result, e.Checked = events[i].Result, events[i].Time
		}
	}
}

// newestFirst sorts by the place in the time line; a boot that is not in it
// (cut off by age, or by a power cut) goes where its clock says.
func newestFirst(entries []Entry, order map[string]int) []Entry {
	var out, loose []Entry
	for _, e := range entries {
		if _, known := order[e.BootID]; known {
			out = append(out, e)
		} else {
			loose = append(loose, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(order[a.BootID], order[b.BootID]) })
	slices.SortFunc(loose, func(a, b Entry) int {
		return cmp.Or(a.Taken.Compare(b.Taken), cmp.Compare(a.BootID, b.BootID))
	})
	for _, e := range loose {
		i := slices.IndexFunc(out, func(o Entry) bool { return o.Taken.After(e.Taken) })
		if i < 0 {
			i = len(out)
		}
		out = slices.Insert(out, i, e)
	}
	slices.Reverse(out)
	// Whatever the time line and the clock say, no boot is newer than this one.
	if i := slices.IndexFunc(out, func(e Entry) bool { return e.Current }); i > 0 {
		this := out[i]
		out = slices.Insert(slices.Delete(out, i, i+1), 0, this)
	}
	return out
}
