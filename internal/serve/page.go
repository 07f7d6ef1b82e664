package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"lastgood/internal/baseline"
	"lastgood/internal/gate"
	"lastgood/internal/metrics"
	"lastgood/internal/page"
)

// makePages makes all pages of what was read. Where that fails there are none, which is a fault.
func (s *Server) makePages(in metrics.Input, entries []baseline.Entry, st *state) {
	given := page.Given{Kinds: s.o.Kinds, Version: s.o.Version, Now: s.o.Now(), Report: in.Report, Snapshot: in.Snapshot, Base: in.Base, Entries: entries}
	store, err := baseline.Open(s.o.Dir, baseline.Options{BootID: s.o.BootID})
	if err != nil {
		st.fault("%v", err)
		return
	}
	given.Gate, _ = gate.Keeper{Folder: baseline.OpenFolder(s.o.Dir, nil)}.Load() // its error was told where metrics are made
	all, faults := page.Gather(store, given)
	for _, f := range faults {
		st.fault("%s", f)
	}
	for _, d := range store.Damaged() {
		st.fault("%s", d)
	}
	if st.site, err = page.Make(all); err != nil {
		st.fault("%v", err)
	}
}

// page answers with one of the pages that were made, or says that there is none.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	if p, ok := st.site.Page(r.URL.Path); ok {
		faulty(w, st)
		sendPage(w, http.StatusOK, p.With(s.notice(st)))
		return
	}
	if r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/") {
		fail(w, http.StatusNotFound, "the API has no such part", "/api/v1/report, /api/v1/snapshots, /api/v1/snapshots/ID and /api/v1/diff?from=&to= are answered")
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		sendPage(w, http.StatusNotFound, st.site.Problem("There is no such page", "The head of this page names those that there are."))
		return
	}
	fail(w, http.StatusNotFound, "there is no such page", "/ names those that there are")
}

// notice is what is known only now of what was made before.
func (s *Server) notice(st *state) page.Notice {
	is, known := s.thisBoot(st)
	return page.Notice{Stale: st.broken, OtherBoot: st.any() && known && !is, Faults: append([]string{}, st.faults...)}
}

func (s *Server) style(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable") // its path changes with it
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Content-Length", fmt.Sprint(len(page.Style)))
	_, _ = w.Write(page.Style) // whoever asked may be gone
}

// diffPage answers with two snapshots side by side. They are read when asked for, one
// request at a time.
func (s *Server) diffPage(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	problem := func(code int, text, hint string) { sendPage(w, code, st.site.Problem(text, hint)) }
	q, err := page.ParseDiff(r.URL.RawQuery)
	if err != nil {
		problem(http.StatusBadRequest, "This address compares nothing", err.Error())
		return
	}
	if st.site == nil {
		problem(http.StatusNotFound, "There is nothing to compare yet", "`lastgood check` makes a first result.")
		return
	}
	if q.Empty() {
		b, err := st.site.Form()
		if err != nil {
			problem(http.StatusInternalServerError, "This page could not be made", err.Error())
			return
		}
		sendPage(w, http.StatusOK, b)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), heavyPatience)
	defer cancel()
	select {
	case s.heavy <- struct{}{}:
	case <-ctx.Done():
		w.Header().Set("Retry-After", "5")
		problem(http.StatusServiceUnavailable, "Too many ask for whole snapshots", "Ask again in a few seconds.")
		return
	}
	code, b, err := s.sideBySide(st, q)
	if err != nil {
		problem(code, "These two cannot be compared", err.Error())
		return
	}
	sendPage(w, http.StatusOK, b)
}

// sideBySide makes the page while its caller holds the right to read whole snapshots, and
// gives that back with the memory.
func (s *Server) sideBySide(st *state, q page.DiffQuery) (int, []byte, error) {
	defer func() {
		debug.FreeOSMemory()
		<-s.heavy
	}()
	from, err := s.snapshotOf(q.From)
	if err != nil {
		return codeOf(err), nil, err
	}
	to, err := s.snapshotOf(q.To)
	if err != nil {
		return codeOf(err), nil, err
	}
	b, err := st.site.Diff(q, from, to, s.o.Judge(from, to))
	return http.StatusInternalServerError, b, err
}

// codeOf is the status that says why a snapshot cannot be had.
func codeOf(err error) int {
	var missing *baseline.NotFoundError
	var many *baseline.AmbiguousError
	switch {
	case errors.As(err, &missing), errors.Is(err, baseline.ErrNone):
		return http.StatusNotFound
	case errors.As(err, &many):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func sendPage(w http.ResponseWriter, code int, b []byte) {
	h := w.Header()
	h.Set("Content-Security-Policy", page.Policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", fmt.Sprint(len(b)))
	w.WriteHeader(code)
	_, _ = w.Write(b) // whoever asked may be gone
}
