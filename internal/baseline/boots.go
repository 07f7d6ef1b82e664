package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// Words that stand for a boot beside its id.
const (
	LastGood = "last-good" // the snapshot that was accepted
	Current  = "current"   // the newest one of the current boot
)

// maxBootID bounds a boot id, which becomes a file name.
const maxBootID = 64

// validBootID reports whether id can name a file of the store: the kernel's are
// UUIDs, and a recorded host may have something simpler.
func validBootID(id string) bool {
	if id == "" || len(id) > maxBootID || id[0] == '-' || id == LastGood || id == Current {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}

const jsonExt = ".json"

func bootFile(id string) string { return id + jsonExt }

// Save keeps a snapshot as the newest of its boot, notes it with the check's
// result in the time line (nil where nothing was judged), and returns the boot
// id. An error together with an id means that the snapshot was kept and only
// the time line could not be written.
func (s *Store) Save(snap *snapshot.Snapshot, result *Result) (string, error) {
	id := snap.Identity.BootID
	if id == "" {
		return "", errors.New("save snapshot: it has no boot id")
	}
	if !validBootID(id) {
		return "", fmt.Errorf("save snapshot: boot id %q: not fit for a file name", id)
	}
	doc, err := snap.Encode()
	if err != nil {
		return "", fmt.Errorf("save snapshot of boot %s: %w", id, err)
	}
	if doc, _, err = seal(doc); err != nil {
		return "", fmt.Errorf("save snapshot of boot %s: %w", id, err)
	}
	e := Event{Time: s.o.Now(), Type: EventCheck, BootID: id, Release: snap.Identity.Kernel.Release, Phase: snap.Phase, Result: result}
	if result == nil {
		e.Type = EventSnapshot
	}
	kept := ""
	err = s.write(func() error {
		if err := replace(s.fl, s.path(bootsDir, bootFile(id)), doc); err != nil {
			return err
		}
		kept = id
		return s.appendEvent(e)
	})
	return kept, err
}

// Load is the snapshot that a person's word for it names: "last-good" (as it was
// accepted), "current", a boot id, a kernel release (its newest boot), or the
// beginning of a boot id that fits one boot only.
func (s *Store) Load(id string) (*snapshot.Snapshot, error) {
	s.work.Lock()
	defer s.work.Unlock()
	if id == LastGood {
		snap, _, err := s.lastGood()
		return snap, err
	}
	boot, err := s.find(id)
	if err != nil {
		return nil, err
	}
	snap, _, _, err := s.readBoot(bootFile(boot), boot)
	return snap, err
}

// find is the boot id that a word names.
func (s *Store) find(id string) (string, error) {
	infos, err := s.bootFiles()
	if err != nil {
		return "", err
	}
	var like []string
	for _, i := range infos {
		boot := strings.TrimSuffix(i.Name, jsonExt)
		if boot == id || (id == Current && boot == s.o.BootID) {
			return boot, nil
		}
		if id != "" && strings.HasPrefix(boot, id) {
			like = append(like, boot)
		}
	}
	if id == Current || id == "" {
		return "", &NotFoundError{id}
	}
	entries, err := s.list()
	if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Release == id }); i >= 0 {
		return entries[i].BootID, nil
	}
	switch {
	case len(like) == 1:
		return like[0], nil
	case len(like) > 1:
		return "", &AmbiguousError{ID: id, BootIDs: like}
	case err != nil:
		return "", err // what could not be read may have been it
	}
	return "", &NotFoundError{id}
}

// bootFiles lists boots/BOOT.json, and neither accepted copies nor what others
// put there.
func (s *Store) bootFiles() ([]fileInfo, error) {
	infos, err := s.fl.ReadDir(s.path(bootsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fileErr("read", s.path(bootsDir), err)
	}
	return slices.DeleteFunc(infos, func(i fileInfo) bool {
		id, ok := strings.CutSuffix(i.Name, jsonExt)
		return !ok || !validBootID(id)
	}), nil
}

// readSnapshot is readSealed of a snapshot.
func (s *Store) readSnapshot(path string) (b []byte, sum string, err error) {
	b, sum, err = s.readSealed(path, s.o.MaxSnapshot)
	if errors.Is(err, errTooLarge) && s.o.MaxSnapshot < maxSnapshot {
		err = fileErr("read", path, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, s.o.MaxSnapshot))
	}
	return b, sum, err
}

// readBoot reads a snapshot of the store, with its bytes and checksum, and sets
// it aside where it is damaged. It must be of the given boot.
func (s *Store) readBoot(name, boot string) (*snapshot.Snapshot, []byte, string, error) {
	path := s.path(bootsDir, name)
	b, sum, err := s.readSnapshot(path)
	var snap *snapshot.Snapshot
	if err == nil {
		snap, err = snapshot.Decode(b)
		var other *snapshot.SchemaError
		switch {
		case errors.As(err, &other):
			return nil, nil, "", fmt.Errorf("read %s: %w", path, err) // whole, and of another lastgood
		case err != nil:
			err = &DamagedError{Path: path, Why: err}
		case snap.Identity.BootID != boot:
			err = &DamagedError{Path: path, Why: fmt.Errorf("it holds a snapshot of boot %q", snap.Identity.BootID)}
		}
	}
	if err != nil {
		s.setAside(err)
		return nil, nil, "", err
	}
	return snap, b, sum, nil
}

// header is what a list shows of a snapshot, which is read up to its subjects.
type header struct {
	Schema   string
	Taken    time.Time
	Phase    string
	Identity snapshot.Identity
}

// readHeader checks a snapshot of the store and decodes what stands before its
// subjects: those are nearly all of it, and a list needs none.
func (s *Store) readHeader(boot string) (header, error) {
	path := s.path(bootsDir, bootFile(boot))
	b, _, err := s.readSnapshot(path)
	var h header
	if err == nil {
		h, err = decodeHeader(b)
		switch {
		case err != nil:
			err = &DamagedError{Path: path, Why: err}
		case h.Schema != snapshot.Schema && !isSnapshot(h.Schema):
			err = &DamagedError{Path: path, Why: snapshot.ErrNotSnapshot}
		case h.Schema != snapshot.Schema:
			return header{}, fmt.Errorf("read %s: %w", path, &snapshot.SchemaError{Have: h.Schema})
		case h.Identity.BootID != boot:
			err = &DamagedError{Path: path, Why: fmt.Errorf("it holds a snapshot of boot %q", h.Identity.BootID)}
		}
	}
	if err != nil {
		s.setAside(err)
	}
	return h, err
}

// isSnapshot reports whether a schema is that of a snapshot, of any version.
func isSnapshot(schema string) bool {
	name, _, _ := strings.Cut(snapshot.Schema, "/")
	return strings.HasPrefix(schema, name+"/v")
}

func decodeHeader(b []byte) (header, error) {
	var h header
	fields := map[string]any{"schema": &h.Schema, "taken": &h.Taken, "phase": &h.Phase, "identity": &h.Identity}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return h, snapshot.ErrNotSnapshot
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return h, fmt.Errorf("decode snapshot: %w", err)
		}
		if name == "subjects" {
			break
		}
		var into any = new(json.RawMessage)
		if f, known := fields[fmt.Sprint(name)]; known {
			into = f
		}
		if err := dec.Decode(into); err != nil {
			return h, fmt.Errorf("decode snapshot: %w", err)
		}
	}
	if h.Schema == "" {
		return h, snapshot.ErrNotSnapshot
	}
	return h, nil
}
