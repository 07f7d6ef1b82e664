package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"lastgood/internal/collect"
)

// progress draws one line on a terminal once a job takes more than a second.
type progress struct {
	mu    sync.Mutex
	s     *session
	start time.Time
	drawn bool
}

const quietFor = time.Second

func newProgress(s *session) *progress { return &progress{s: s, start: time.Now()} }

func (p *progress) show(at collect.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.s.env.ErrTTY || p.s.quiet || time.Since(p.start) < quietFor || at.Total == 0 {
		return
	}
	const cells = 24
	full := cells * at.Done / at.Total
	fmt.Fprintf(p.s.env.Err, "\r\x1b[K[%s%s] %d of %d  %s", strings.Repeat("#", full), strings.Repeat(".", cells-full), at.Done, at.Total, at.Now)
	p.drawn = true
}

// end wipes the line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.s.env.Err, "\r\x1b[K")
	}
}
