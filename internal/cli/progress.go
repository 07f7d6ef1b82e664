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
	last  time.Time // when the line was drawn last
	drawn bool
}

// quietFor is how long a job goes on in silence, and redraw how often the line is
// drawn afterwards.
const (
	quietFor = time.Second
	redraw   = 100 * time.Millisecond
)

func newProgress(s *session) *progress { return &progress{s: s, start: time.Now()} }

func (p *progress) show(at collect.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.s.draws() || time.Since(p.start) < quietFor || time.Since(p.last) < redraw || at.Total == 0 {
		return
	}
	p.last = time.Now()
	const cells = 24
	full := cells * at.Done / at.Total
	bar := "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
	fmt.Fprint(p.s.env.Err, "\r\x1b[K"+p.s.fit(fmt.Sprintf("%s %d of %d  %s", bar, at.Done, at.Total, at.Now)))
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
