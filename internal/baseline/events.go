package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"lastgood/internal/snapshot"
)

// Types of events. Others may be added with [Store.AppendEvent].
const (
	EventCheck    = "check"    // a snapshot was taken and judged
	EventSnapshot = "snapshot" // a snapshot was taken
	EventAccept   = "accept"   // a boot was made the last good one
)

// The time line is bounded: where a line would not fit, the older half goes.
const (
	maxEvents = 1 << 20
	// readEvents is where a time line is too large to be lastgood's.
	readEvents = 16 * maxEvents
	maxSummary = 1 << 10
)

// Result is what a check came to.
type Result struct {
	Verdict snapshot.Verdict `json:"verdict"`
	Exit    int              `json:"exit"`
	// Findings by severity, and what could not be measured.
	Critical   int     `json:"critical"`
	Warning    int     `json:"warning"`
	Info       int     `json:"info"`
	Incomplete int     `json:"incomplete"`
	Took       float64 `json:"took_seconds"`
	Summary    string  `json:"summary,omitempty"` // one sentence, of which 1 KiB is kept
	// Baseline is the checksum of the accepted snapshot that the boot was held to; it is
	// absent where that was anything else, a file that a person named, say.
	Baseline string `json:"baseline,omitempty"`
}

// Event is a line of the time line.
type Event struct {
	Time    time.Time `json:"time"`
	Type    string    `json:"type"`
	BootID  string    `json:"boot_id,omitempty"`
	Release string    `json:"release,omitempty"`
	Phase   string    `json:"phase,omitempty"`
	Result  *Result   `json:"result,omitempty"`
	By      string    `json:"by,omitempty"`
	Text    string    `json:"text,omitempty"`
}

// taken reports whether the event is of a snapshot, which was taken on its boot.
func (e *Event) taken() bool { return e.Type == EventCheck || e.Type == EventSnapshot }

// Events is the time line, oldest first. Damaged lines are passed over and
// reported by Damaged.
func (s *Store) Events() ([]Event, error) {
	s.work.Lock()
	defer s.work.Unlock()
	return s.events()
}

func (s *Store) events() ([]Event, error) {
	b, err := s.readTimeline()
	events, bad := parseEvents(b)
	if len(bad) > 0 {
		s.report("read %s: %d damaged lines were passed over, the first is line %d", s.path(eventsFile), len(bad), bad[0])
	}
	return events, err
}

func (s *Store) readTimeline() ([]byte, error) {
	path := s.path(eventsFile)
	b, err := s.fl.ReadFile(path, readEvents)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, errTooLarge):
		d := &DamagedError{Path: path, Why: err}
		s.setAside(d)
		return nil, d
	}
	return b, fileErr("read", path, err)
}

// parseEvents reads a time line; bad are the numbers of the lines, from 1, that
// are no events. A line without its newline at the end was cut off, unless it
// is whole.
func parseEvents(b []byte) (events []Event, bad []int) {
	n := 0
	for line := range bytes.Lines(b) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil || e.Type == "" {
			bad = append(bad, n)
			continue
		}
		events = append(events, e)
	}
	return events, bad
}

// AppendEvent adds a line to the time line, synced. An event without a time is of now.
func (s *Store) AppendEvent(e Event) error {
	if e.Type == "" {
		return errors.New("note event: it has no type")
	}
	return s.write(func() error { return s.appendEvent(e) })
}

func (s *Store) appendEvent(e Event) error {
	line, err := s.eventLine(e)
	if err != nil {
		return err
	}
	b, err := s.readTimeline()
	var d *DamagedError
	if err != nil && (!errors.As(err, &d) || d.MovedTo == "") {
		return err
	}
	path := s.path(eventsFile)
	if len(b)+len(line) > s.o.maxEvents {
		return replace(s.fl, path, append(lastLines(b, s.o.maxEvents/2), line...))
	}
	if len(b) > 0 && b[len(b)-1] != '\n' { // the line before was cut off
		line = append([]byte{'\n'}, line...)
	}
	return appendTo(s.fl, path, line, len(b) == 0)
}

func (s *Store) eventLine(e Event) ([]byte, error) {
	if e.Time.IsZero() {
		e.Time = s.o.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	if e.Result != nil {
		r := *e.Result
		r.Summary = clip(r.Summary)
		e.Result = &r
	}
	e.Text = clip(e.Text)
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("note event %s: %w", e.Type, err)
	}
	return append(line, '\n'), nil
}

// lastLines is the whole lines at the end of b, of n bytes at most.
func lastLines(b []byte, n int) []byte {
	b = b[max(0, len(b)-n):]
	_, b, _ = bytes.Cut(b, []byte{'\n'})
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return bytes.Clone(b)
}

// clip keeps the beginning of a text, whole characters of it.
func clip(s string) string {
	if len(s) <= maxSummary {
		return s
	}
	return strings.ToValidUTF8(s[:maxSummary], "") + "…"
}
