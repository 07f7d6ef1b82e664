package watch

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// inARow is how many samples must agree that it is too hot, and independent how many
	// sensors of different devices in each: one alone may lie.
	inARow      = 3
	independent = 2
	// shutdownPatience bounds the call.
	shutdownPatience = 30 * time.Second
)

// Guard shuts the host down when it is too hot; only where it was asked for.
type Guard struct {
	Above float64 // °C
	Paths []string
	hot   int  // samples in a row that were too hot
	done  bool // the host is going down
}

// ShutdownPaths are where the program that shuts down may be. It is never looked for
// elsewhere: not in PATH.
var ShutdownPaths = []string{"/sbin/shutdown", "/usr/sbin/shutdown"}

// NewGuard is a guard at a temperature, which must be one that only a fault reaches.
func NewGuard(above float64) (*Guard, error) {
	const least, most = 60, 150
	if !(above >= least && above <= most) {
		return nil, fmt.Errorf("shut down above %g °C: not between %d and %d", above, least, most)
	}
	g := &Guard{Above: above, Paths: ShutdownPaths}
	_, err := g.program()
	return g, err
}

func (g *Guard) program() (string, error) {
	var errs []error
	for _, p := range g.Paths {
		if !filepath.IsAbs(p) {
			errs = append(errs, fmt.Errorf("%s is not an absolute path", p))
			continue
		}
		found, err := exec.LookPath(p)
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find what shuts down: %w", errors.Join(errs...))
}

// Feed counts a sample in, and shuts the host down at the third in a row in which sensors
// of two devices are too hot; why is "" where it did not.
func (g *Guard) Feed(ctx context.Context, s Sample) (why string, err error) {
	if g.done {
		return "", nil
	}
	at := map[string]bool{}
	var names []string
	for _, p := range s.Points {
		if p.Type == Temperature && p.Value > g.Above && !at[p.Place] {
			at[p.Place] = true
			names = append(names, fmt.Sprintf("%s %.1f °C", p.Label, p.Value))
		}
	}
	if len(at) < independent {
		g.hot = 0
		return "", nil
	}
	if g.hot++; g.hot < inARow {
		return "", nil
	}
	why = fmt.Sprintf("%d samples in a row above %g °C: %s", inARow, g.Above, strings.Join(names, ", "))
	err = g.shutdown(ctx, why)
	g.done = err == nil
	return why, err
}

func (g *Guard) shutdown(ctx context.Context, why string) error {
	program, err := g.program()
	if err != nil {
		return err
	}
	// Whoever ends this process at the same moment must not keep the host burning.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "-P", "now", "lastgood: "+printable(why)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", program, err, printable(string(out)))
	}
	return nil
}
