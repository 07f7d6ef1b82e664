package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// steps draws one line on a terminal for jobs that go on side by side: how many are
// over, and what each of the others does.
type steps struct {
	mu    sync.Mutex
	s     *session
	start time.Time
	last  time.Time
	total int
	over  int
	now   map[string]string
	drawn bool
}

func newSteps(s *session) *steps { return &steps{s: s, start: time.Now(), now: map[string]string{}} }

// show says what the job of that name does now.
func (p *steps) show(name, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now[name] = what
	if !p.s.draws() || time.Since(p.start) < quietFor || time.Since(p.last) < redraw {
		return
	}
	p.last = time.Now()
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(p.now)) {
		parts = append(parts, n+": "+p.now[n])
	}
	line := strings.Join(parts, " | ")
	if p.total > 1 {
		line = fmt.Sprintf("[%d of %d] ", p.over, p.total) + line
	}
	fmt.Fprint(p.s.env.Err, "\r\x1b[K"+p.s.fit(line))
	p.drawn = true
}

// done says that the job of that name is over.
func (p *steps) done(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over++
	delete(p.now, name)
}

// end wipes the line.
func (p *steps) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.s.env.Err, "\r\x1b[K")
	}
}
