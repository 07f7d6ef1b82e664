// Package serve answers with the last result over HTTP: metrics, JSON and a page. It
// reads the state folder and nothing else, loads nothing and needs no privilege.
//
// What is answered is made once, when something in the folder changed, and held as
// bytes: an answer costs the same whatever the host has, and memory does not grow with
// those who ask. Where a file is damaged or gone the last good read is served on, and
// every answer that can say so does.
package serve

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"lastgood/internal/page"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// Options are what a server leans on.
type Options struct {
	// Dir is the state folder.
	Dir   string
	Kinds snapshot.Kinds
	// Judge compares two snapshots by the administrator's policy.
	Judge func(old, new *snapshot.Snapshot) *report.Report
	// Version is lastgood's own.
	Version string
	// BootID is this boot's, "" where it cannot be read; Booted is when it began by the
	// clock, and stands in for it.
	BootID string
	Booted time.Time
	// Hosts are names that a client on this machine may ask for beside localhost.
	Hosts []string
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Server answers for one state folder.
type Server struct {
	o     Options
	state atomic.Pointer[state]
	heavy chan struct{} // held by whoever reads whole snapshots
	whole chan struct{} // held by whoever has one to send

	mu     sync.Mutex // one refresh at a time; guards what follows
	seen   string     // the folder as it was when it was last read
	heat   string     // and the samples of the boot that is shown
	readAt time.Time  // when that was

	// looked is when the folder was last looked at. It is kept with its monotonic reading
	// (package time), so that a clock that is set does not tell for or against anybody's health.
	looked   atomic.Pointer[time.Time]
	scrapes  atomic.Int64
	reads    atomic.Int64
	failures atomic.Int64
}

// New is a server of a folder that was not read yet; see Refresh.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, heavy: make(chan struct{}, 1), whole: make(chan struct{}, maxWhole)}
	now := o.Now()
	s.looked.Store(&now)
	s.state.Store(&state{})
	return s
}

// lookEvery is how often the folder is looked at: nine calls of stat.
const lookEvery = time.Second

// staleAfter is when a server that did not look at the folder is not healthy any more.
const staleAfter = 60 * time.Second

// Watch looks at the folder until ctx is done. alive is called after every look.
func (s *Server) Watch(ctx context.Context, alive func()) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		s.Refresh()
		alive()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Healthy reports whether the folder is being looked at.
func (s *Server) Healthy() bool {
	return s.o.Now().Sub(*s.looked.Load()) < staleAfter
}

// Handler answers all requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", s.metrics)
	mux.HandleFunc("/-/healthy", s.healthy)
	mux.HandleFunc("/-/ready", s.ready)
	mux.HandleFunc("/api/v1/report", s.report)
	mux.HandleFunc("/api/v1/snapshots", s.snapshots)
	mux.HandleFunc("/api/v1/snapshots/{id}", s.snapshot)
	mux.HandleFunc("/api/v1/diff", s.diff)
	mux.HandleFunc(page.StylePath, s.style)
	mux.HandleFunc(page.DiffPath, s.diffPage)
	mux.HandleFunc("/", s.page)
	return s.guard(mux)
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	if !s.Healthy() {
		fail(w, http.StatusServiceUnavailable, "the state folder was not looked at for too long", "")
		return
	}
	plain(w, http.StatusOK, "healthy\n")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	st := s.state.Load()
	if !st.any() {
		fail(w, http.StatusServiceUnavailable, "there is no result yet", "`lastgood check` makes one")
		return
	}
	plain(w, http.StatusOK, "ready\n")
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // whoever asked may be gone
}
