package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schema is the name and version of the JSON form. Fields are only ever added
// within a version; a new meaning gets a new version.
const (
	Schema        = schemaName + "/v1"
	schemaName    = "lastgood.snapshot"
	schemaVersion = 1
)

// Snapshot is one collection on one boot. It is not changed once collected.
type Snapshot struct {
	Schema   string    `json:"schema"`
	Tool     string    `json:"tool"`            // name and version of what took it
	Taken    time.Time `json:"taken"`           // when it was begun, UTC
	Phase    string    `json:"phase,omitempty"` // what asked for it: boot, manual, probe, inventory …
	Identity Identity  `json:"identity"`
	Subjects []Subject `json:"subjects"`
}

// ErrNotSnapshot is returned for JSON that is no lastgood snapshot.
var ErrNotSnapshot = errors.New("not a lastgood snapshot")

// SchemaError is returned for a snapshot of a version that cannot be read.
type SchemaError struct{ Have string }

func (e *SchemaError) Error() string {
	return fmt.Sprintf("snapshot has schema %q, this lastgood reads %q", e.Have, Schema)
}

// Hint says what a person can do about it.
func (e *SchemaError) Hint() string {
	return "it was written by another version of lastgood: use that version, or accept a new baseline with `lastgood accept`"
}

// Sort puts the subjects in order of their keys; it refuses a key that stands
// twice, for then the two could not be told apart in a comparison.
func (s *Snapshot) Sort() error {
	slices.SortStableFunc(s.Subjects, func(a, b Subject) int { return a.Key().Compare(b.Key()) })
	for i := 1; i < len(s.Subjects); i++ {
		if k := s.Subjects[i].Key(); k == s.Subjects[i-1].Key() {
			return fmt.Errorf("sort snapshot: subject %s stands twice", k)
		}
	}
	return nil
}

// Subject is the subject of that key, or nil. The snapshot must be sorted.
func (s *Snapshot) Subject(k Key) *Subject {
	i, ok := slices.BinarySearchFunc(s.Subjects, k, func(a Subject, k Key) int { return a.Key().Compare(k) })
	if !ok {
		return nil
	}
	return &s.Subjects[i]
}

// Encode writes the snapshot as JSON, indented, ending in a newline. Equal
// states give equal bytes: subjects are sorted, map keys too.
func (s *Snapshot) Encode() ([]byte, error) {
	if err := s.Sort(); err != nil {
		return nil, err
	}
	out := *s
	out.Schema = Schema
	out.Taken = s.Taken.UTC().Truncate(time.Millisecond)
	if out.Subjects == nil {
		out.Subjects = []Subject{}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(&out); err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return buf.Bytes(), nil
}

// Decode reads what Encode wrote. Unknown fields are passed over. It returns
// ErrNotSnapshot or a *SchemaError where the file is something else or of
// another version.
func Decode(b []byte) (*Snapshot, error) {
	var head struct {
		Schema *string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	if head.Schema == nil {
		return nil, fmt.Errorf("decode snapshot: no schema: %w", ErrNotSnapshot)
	}
	if err := checkSchema(*head.Schema); err != nil {
		return nil, err
	}
	s := &Snapshot{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	for i := range s.Subjects {
		if err := cleanSubject(&s.Subjects[i]); err != nil {
			return nil, fmt.Errorf("decode snapshot: subject %d: %w", i, err)
		}
	}
	if err := s.Sort(); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	return s, nil
}

func checkSchema(schema string) error {
	name, version, ok := strings.Cut(schema, "/v")
	n, err := strconv.Atoi(version)
	if !ok || err != nil || name != schemaName {
		return fmt.Errorf("decode snapshot: schema %q: %w", schema, ErrNotSnapshot)
	}
	if n != schemaVersion {
		return &SchemaError{Have: schema}
	}
	return nil
}

// cleanSubject refuses a subject without a name and drops null attributes, so
// that "no value" has one form only.
func cleanSubject(s *Subject) error {
	if s.Kind == "" || s.ID == "" {
		return fmt.Errorf("kind or id is empty")
	}
	if s.Outcome == "" {
		s.Outcome = Inconclusive
	}
	for name, v := range s.Attrs {
		if v.IsZero() {
			delete(s.Attrs, name)
		}
	}
	return nil
}
