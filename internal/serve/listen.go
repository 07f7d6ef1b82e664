package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sys/unix"
)

// DefaultAddress is where is listened where nobody says otherwise.
const DefaultAddress = "127.0.0.1:9878"

// Bounds on clients. A scrape is one small request and one answer of a few megabytes.
const (
	headerPatience = 5 * time.Second
	readPatience   = 10 * time.Second
	writePatience  = 30 * time.Second
	idlePatience   = time.Minute
	stopPatience   = 5 * time.Second
	maxHeader      = 16 << 10
	maxClients     = 1200 // connections at once; more wait in the kernel's queue
)

// Listeners are the sockets that systemd gave (LISTEN_FDS), or one at address.
func Listeners(address string) ([]net.Listener, error) {
	given, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take systemd's sockets: %w", err)
	}
	var out []net.Listener
	for _, l := range given {
		if l != nil { // a socket that is not a stream
			out = append(out, l)
		}
	}
	if len(given) > 0 && len(out) == 0 {
		return nil, errors.New("take systemd's sockets: none of them is a stream")
	}
	if len(out) > 0 {
		return out, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return []net.Listener{l}, nil
}

// CheckConfig refuses a web configuration (TLS, users) that cannot be used.
func CheckConfig(path string) error {
	if err := web.Validate(path); err != nil {
		return fmt.Errorf("read web configuration %s: %w", path, err)
	}
	return nil
}

// Run answers on the listeners until ctx is done, and tells systemd how it fares.
// webConfig is a file of exporter-toolkit, or "".
func (s *Server) Run(ctx context.Context, listeners []net.Listener, webConfig string, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.Refresh()
	var servers []*http.Server
	failed := make(chan error, len(listeners))
	slots := make(chan struct{}, clientsAtOnce())
	for _, l := range listeners {
		srv := s.server(log) // one each: the toolkit changes the server that it is given
		servers = append(servers, srv)
		go func() {
			failed <- web.Serve(&bounded{Listener: l, slots: slots, closed: make(chan struct{})}, srv, &web.FlagConfig{WebConfigFile: &webConfig}, log)
		}()
	}
	tell(log, daemon.SdNotifyReady)
	var watching sync.WaitGroup
	watching.Go(func() { s.Watch(ctx, watchdog(log)) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	tell(log, daemon.SdNotifyStopping)
	cancel()
	watching.Wait()
	return errors.Join(err, stop(servers))
}

// clientsAtOnce is how many connections may be open: half of the descriptors that this process
// may have at most, for without one the state folder cannot be read.
func clientsAtOnce() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur/2 >= maxClients {
		return maxClients
	}
	return max(int(limit.Cur/2), 1)
}

// server is an HTTP server with bounds on its clients.
func (s *Server) server(log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerPatience, ReadTimeout: readPatience, WriteTimeout: writePatience,
		IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// stop lets answers that are under way end.
func stop(servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	for _, srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close() // a client that does not read its answer has had its time
		}
	}
	return nil
}

// tell notifies systemd, where it started this.
func tell(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd is not told", "state", state, "err", err)
	}
}

// watchdog gives what is called after every look at the folder: it tells systemd that all
// is well, twice in the time that systemd waits.
func watchdog(log *slog.Logger) func() {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return func() {}
	}
	var last time.Time
	return func() {
		if time.Since(last) >= every/2-lookEvery {
			last = time.Now()
			tell(log, daemon.SdNotifyWatchdog)
		}
	}
}

// bounded lets so many connections be open at once.
type bounded struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &slotted{Conn: c, slots: b.slots}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// slotted gives its place back when it is closed.
type slotted struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *slotted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
