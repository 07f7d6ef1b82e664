// Package contract takes stock of what a host does besides having hardware: units, mounts, block nodes, addresses,
// routes, listeners, resolvers, the clock, containers (the learned contract, compared with the last good boot by rules),
// and asks what an administrator wrote down in /etc/lastgood/contract.d (the declared contract).
//
// Files are read through host.Root and so of a recorded host too. What has to be asked of the running machine (D-Bus,
// sockets, netlink) answers source.ErrSkipped there. Each question has a deadline.
package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

var catalogue source.Catalogue

// Sources are all readers of the contract, sorted by name.
func Sources() []source.Source { return catalogue.All() }

// Looks reports whether a gap is of something that this package looks at.
func Looks(g *snapshot.Gap) bool {
	return slices.ContainsFunc(Sources(), func(s source.Source) bool {
		return g.Kind == snapshot.SourceKind && g.ID == s.Name || slices.ContainsFunc(s.Kinds, func(k snapshot.Kind) bool { return k.Name == g.Kind })
	})
}

// errNotLive is why a question to the running machine was not put.
var errNotLive = fmt.Errorf("%w: services and network answer only where they run", source.ErrSkipped)

// Bounds on what is read of a file, in bytes: an administrator's file, a table of /proc that grows with the host.
const (
	maxFile  = 64 << 10
	maxTable = 4 << 20
)

// readText reads a file of at most max bytes. found is false where it is not there.
func readText(ctx context.Context, root *sysfs.Root, max int, name string) (text string, found bool, err error) {
	b, err := root.Bytes(ctx, max, name)
	if sysfs.Absent(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return string(b), true, nil
}

// listDir names what is in a folder: nothing where it is not there.
func listDir(ctx context.Context, root *sysfs.Root, name string) ([]string, error) {
	names, err := root.List(ctx, name)
	if sysfs.Absent(err) {
		return nil, nil
	}
	return names, err
}

func yesNo(b bool) snapshot.Value {
	if b {
		return snapshot.Text("yes")
	}
	return snapshot.Text("no")
}

// uptime is the time since the kernel began, by /proc/uptime (CLOCK_BOOTTIME).
func uptime(ctx context.Context, root *sysfs.Root) (time.Duration, error) {
	text, err := root.Attr(ctx, "/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(text, " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil || s < 0 || s > 1e10 {
		return 0, fmt.Errorf("read /proc/uptime: %q is no time", first)
	}
	return time.Duration(s * float64(time.Second)), nil
}

// young is how long a host that has no systemd to ask counts as still starting.
const young = time.Minute

// settled says why what is missing now may yet come: nil where the host has come up. A service that is not there
// thirty seconds after the kernel began is not gone.
func settled(ctx context.Context, h source.Host) error {
	if !h.Root.Live() {
		return nil
	}
	why, err := stillStarting(ctx)
	if err == nil {
		if why != "" {
			return errors.New(why)
		}
		return nil
	}
	up, upErr := uptime(ctx, h.Root)
	if upErr != nil {
		return nil // nothing speaks for a host that still starts
	}
	if up < young {
		return fmt.Errorf("the host is up for %v only: what is missing may yet come", up.Round(time.Second))
	}
	return nil
}

// within gives up on a question that cannot be cancelled: only the goroutine that asked is lost.
func within[T any](ctx context.Context, patience time.Duration, ask func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan answer, 1)
	go func() {
		v, err := ask()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("no answer in %v: %w", patience, ctx.Err())
	}
}

// timedOut reports whether an error is a deadline's.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
