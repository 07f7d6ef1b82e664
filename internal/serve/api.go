package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"lastgood/internal/baseline"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// Schemas of the documents that are this package's own.
const (
	ErrorSchema     = "lastgood.error/v1"
	SnapshotsSchema = "lastgood.snapshots/v1"
)

// problem is what is answered where something cannot be.
type problem struct {
	Schema string `json:"schema"`
	Error  string `json:"error"`
	Hint   string `json:"hint,omitempty"`
}

func fail(w http.ResponseWriter, code int, text, hint string) {
	b, err := json.Marshal(problem{ErrorSchema, text, hint})
	if err != nil {
		b = []byte(`{"schema": "` + ErrorSchema + `"}`)
	}
	w.Header().Del("Content-Encoding")
	sendJSON(w, code, append(b, '\n'))
}

func sendJSON(w http.ResponseWriter, code int, b []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.WriteHeader(code)
	_, _ = w.Write(b) // whoever asked may be gone; of a HEAD the server drops it
}

// faulty says on an answer that not all of the folder could be read, and (RFC 7234, 5.5.1)
// where the answer is not what the folder holds now.
func faulty(w http.ResponseWriter, st *state) {
	if n := len(st.faults); n > 0 {
		w.Header().Set("Lastgood-Faults", fmt.Sprint(n))
	}
	if st.broken {
		w.Header().Set("Warning", `110 - "the newest result could not be read; this is an earlier one"`)
	}
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	faulty(w, st)
	if st.report == nil {
		fail(w, http.StatusNotFound, strings.Join(append([]string{"there is no report yet"}, st.faults...), "; "), "`lastgood check` makes one")
		return
	}
	st.report.send(w, r)
}

// listed is a boot of the history.
type listed struct {
	BootID     string           `json:"boot_id"`
	Release    string           `json:"release,omitempty"`
	Taken      time.Time        `json:"taken,omitzero"`
	Phase      string           `json:"phase,omitempty"`
	SizeBytes  int64            `json:"size_bytes"`
	Checked    time.Time        `json:"checked,omitzero"`
	Verdict    snapshot.Verdict `json:"verdict,omitempty"`
	Summary    string           `json:"summary,omitempty"`
	LastGood   bool             `json:"last_good"`
	Accepted   time.Time        `json:"accepted,omitzero"`
	AcceptedBy string           `json:"accepted_by,omitempty"`
	Error      string           `json:"error,omitempty"` // why it cannot be read
}

// listJSON is the history as a document, newest boot first.
func listJSON(entries []baseline.Entry) []byte {
	doc := struct {
		Schema    string   `json:"schema"`
		Snapshots []listed `json:"snapshots"`
	}{SnapshotsSchema, []listed{}}
	for _, e := range entries {
		l := listed{BootID: e.BootID, Release: e.Release, Taken: e.Taken, Phase: e.Phase, SizeBytes: e.Size, Checked: e.Checked, LastGood: e.LastGood, Accepted: e.Accepted, AcceptedBy: e.By}
		if e.Result != nil {
			l.Verdict, l.Summary = e.Result.Verdict, e.Result.Summary
		}
		if e.Err != nil {
			l.Error = e.Err.Error()
		}
		doc.Snapshots = append(doc.Snapshots, l)
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return []byte(`{"schema": "` + SnapshotsSchema + `", "snapshots": []}`) // of texts and times there is none
	}
	return append(b, '\n')
}

func (s *Server) snapshots(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	faulty(w, st)
	if st.list.packed == nil {
		sendJSON(w, http.StatusOK, listJSON(nil))
		return
	}
	st.list.send(w, r)
}

func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) {
	s.answerWhole(w, r, func() ([]byte, bool) { return s.encoded(w, r.PathValue("id")) })
}

func (s *Server) encoded(w http.ResponseWriter, id string) ([]byte, bool) {
	snap, ok := s.read(w, id)
	if !ok {
		return nil, false
	}
	b, err := snap.Encode()
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error(), "")
		return nil, false
	}
	return b, true
}

func (s *Server) diff(w http.ResponseWriter, r *http.Request) {
	s.answerWhole(w, r, func() ([]byte, bool) { return s.compared(w, r) })
}

func (s *Server) compared(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	q := r.URL.Query()
	for name, values := range q {
		if (name != "from" && name != "to") || len(values) != 1 {
			fail(w, http.StatusBadRequest, "diff wants from and to, once each", "/api/v1/diff?from=last-good&to=current")
			return nil, false
		}
	}
	from, ok := s.read(w, q.Get("from"))
	if !ok {
		return nil, false
	}
	to, ok := s.read(w, q.Get("to"))
	if !ok {
		return nil, false
	}
	var b strings.Builder
	if err := report.JSON(&b, s.o.Judge(from, to), report.Options{}); err != nil {
		fail(w, http.StatusInternalServerError, err.Error(), "")
		return nil, false
	}
	return []byte(b.String()), true
}

// read is the snapshot that a client names, or the answer why there is none.
func (s *Server) read(w http.ResponseWriter, id string) (*snapshot.Snapshot, bool) {
	const hint = "name last-good, current, a boot id or a kernel release; /api/v1/snapshots lists what there is"
	if !fit(id) {
		fail(w, http.StatusBadRequest, "this names no snapshot", hint)
		return nil, false
	}
	snap, err := s.snapshotOf(id)
	var missing *baseline.NotFoundError
	var many *baseline.AmbiguousError
	switch {
	case err == nil:
		return snap, true
	case errors.As(err, &missing), errors.Is(err, baseline.ErrNone):
		fail(w, http.StatusNotFound, err.Error(), hint)
	case errors.As(err, &many):
		fail(w, http.StatusBadRequest, err.Error(), many.Hint())
	case errors.Is(err, baseline.ErrTooLarge):
		fail(w, http.StatusInternalServerError, err.Error(), "`lastgood show` and `lastgood diff` read it on this host")
	default:
		fail(w, http.StatusInternalServerError, err.Error(), "")
	}
	return nil, false
}

// maxName bounds what a client may name a snapshot by.
const maxName = 128

// fit reports whether a text can be the name of a snapshot: a boot id, a kernel release
// or a word. What is a path is none.
func fit(id string) bool {
	if id == "" || len(id) > maxName || strings.Contains(id, "..") {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-_.+~", r)
	})
}

// heavyPatience is how long a request for a whole snapshot waits for others' end.
const heavyPatience = 5 * time.Second

// maxWhole bounds the answers that are held for clients who may be slow to take them: each
// is as large as a snapshot.
const maxWhole = 2

// answerWhole answers with what has to be read first. One reads at a time and few have an
// answer on its way, so that memory is bounded however many ask and however slow they are.
func (s *Server) answerWhole(w http.ResponseWriter, r *http.Request, answer func() ([]byte, bool)) {
	ctx, cancel := context.WithTimeout(r.Context(), heavyPatience)
	defer cancel()
	if !take(ctx, s.whole) {
		busy(w)
		return
	}
	defer func() { <-s.whole }()
	if !take(ctx, s.heavy) {
		busy(w)
		return
	}
	if b, ok := s.alone(answer); ok {
		sendJSON(w, http.StatusOK, b)
	}
}

// alone makes an answer, gives back the memory (a snapshot of thousands of subjects is many
// times what the server holds), and then the right to read.
func (s *Server) alone(answer func() ([]byte, bool)) ([]byte, bool) {
	defer func() {
		debug.FreeOSMemory()
		<-s.heavy
	}()
	return answer()
}

// take takes a place, unless none is free until ctx is done.
func take(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	fail(w, http.StatusServiceUnavailable, "too many ask for whole snapshots", "")
}
