package contract

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// busPatience is how long nothing may come over a connection, and busWhole bounds all that is asked over one: six questions
// about each of a hundred services take a slow machine, or one that is starting all of them, more than a second.
const (
	busPatience = time.Second
	busWhole    = 6 * time.Second
)

// Where systemd answers: through the bus, and where that is not (yet, or any more) there by its private socket, which
// root alone may use (systemd's src/core/dbus.c, bus_init_private).
const (
	systemBus     = "/run/dbus/system_bus_socket"
	privateSocket = "/run/systemd/private"
)

// dialSystemd connects to the first of the two that answers. The connection has hard deadlines: a bus that takes a call and
// never answers costs busPatience, one that goes on to answer busWhole, and neither the boot.
func dialSystemd(ctx context.Context) (*systemd.Conn, error) {
	bus, err := dialBus(ctx, systemBus, true)
	if err == nil {
		return bus, nil
	}
	private, errPrivate := dialBus(ctx, privateSocket, false)
	if errPrivate == nil {
		return private, nil
	}
	if errors.Is(err, fs.ErrNotExist) && errors.Is(errPrivate, fs.ErrNotExist) {
		return nil, fmt.Errorf("ask systemd: neither %s nor %s is there: systemd does not run here, or not in this namespace", systemBus, privateSocket)
	}
	return nil, fmt.Errorf("ask systemd: %w; %w", err, errPrivate)
}

// dialBus connects to one socket; a bus wants to be greeted, a peer does not.
func dialBus(ctx context.Context, socket string, hello bool) (*systemd.Conn, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, fmt.Errorf("connect %s: %w", socket, err)
	}
	begun := time.Now()
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		d := net.Dialer{Deadline: begun.Add(busPatience)}
		c, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		if err := c.SetDeadline(begun.Add(busPatience)); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return greet(&patientConn{Conn: c, end: begun.Add(busWhole)}, hello)
	})
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", socket, err)
	}
	return conn, nil
}

// patientConn waits anew after everything that it reads, up to its end.
type patientConn struct {
	net.Conn
	end time.Time
}

func (c *patientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		next := time.Now().Add(busPatience)
		if next.After(c.end) {
			next = c.end
		}
		err = errors.Join(err, c.SetDeadline(next))
	}
	return n, err
}

func greet(c net.Conn, hello bool) (*dbus.Conn, error) {
	conn, err := dbus.NewConn(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err == nil && hello {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// stillStarting says why what is missing now may yet come, by systemd's own word: "" where the system has come up.
func stillStarting(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, busPatience)
	defer cancel()
	conn, err := dialSystemd(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return starting(ctx, conn)
}

// starting is stillStarting on a connection. A lastgood that is started by the boot itself is part of it: while it runs the system
// is never up. It has come as far as it can where no job but lastgood's is at work; those that wait for lastgood wait.
func starting(ctx context.Context, conn *systemd.Conn) (string, error) {
	quoted, err := conn.GetManagerProperty("SystemState")
	if err != nil {
		return "", fmt.Errorf("ask systemd for its state: %w", err)
	}
	state := strings.Trim(quoted, `"`)
	if state != "starting" && state != "initializing" {
		return "", nil
	}
	jobs, err := conn.ListJobsContext(ctx)
	if err != nil {
		return "", fmt.Errorf("list jobs: %w", err)
	}
	for _, j := range jobs {
		if j.Status == "running" && !strings.HasPrefix(j.Unit, "lastgood") {
			return fmt.Sprintf("the system is %s (%s of %s is at work): what is missing may yet come", state, j.JobType, j.Unit), nil
		}
	}
	return "", nil
}

// unitFacts is what systemd says of one unit.
type unitFacts struct {
	systemd.UnitStatus
	Fragment  string // its file
	File      string // enabled, static, disabled …
	Triggered bool   // a socket, timer or path starts it, or a name on the bus
	Restarts  int    // of a service, since it was last started by hand; -1 where not known
	Result    string // success, exit-code, start-limit-hit …
	err       error
}

// unitsAtOnce is how many questions about units are under way at a time on one connection.
const unitsAtOnce = 8

// askUnits lists the loaded units of which want is true and asks about each.
func askUnits(ctx context.Context, conn *systemd.Conn, want func(systemd.UnitStatus) bool) ([]unitFacts, error) {
	all, err := conn.ListUnitsContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("list units: %w", err)
	}
	var out []unitFacts
	for _, u := range all {
		if want(u) {
			out = append(out, unitFacts{UnitStatus: u, Restarts: -1})
		}
	}
	places := make(chan *unitFacts)
	var done sync.WaitGroup
	for range unitsAtOnce {
		done.Go(func() {
			for u := range places {
				u.ask(ctx, conn)
			}
		})
	}
	for i := range out {
		places <- &out[i]
	}
	close(places)
	done.Wait()
	return out, nil
}

// ask reads the properties that a list of units does not hold.
func (u *unitFacts) ask(ctx context.Context, conn *systemd.Conn) {
	text := func(name string) string {
		p, err := conn.GetUnitPropertyContext(ctx, u.Name, name)
		if err != nil {
			u.err = fmt.Errorf("ask for %s of %s: %w", name, u.Name, err)
			return ""
		}
		s, _ := p.Value.Value().(string)
		return s
	}
	u.Fragment, u.File = text("FragmentPath"), text("UnitFileState")
	if p, err := conn.GetUnitPropertyContext(ctx, u.Name, "TriggeredBy"); err == nil {
		by, _ := p.Value.Value().([]string)
		u.Triggered = len(by) > 0
	} else {
		u.err = fmt.Errorf("ask for TriggeredBy of %s: %w", u.Name, err)
	}
	if !strings.HasSuffix(u.Name, ".service") {
		return
	}
	service := func(name string) any {
		p, err := conn.GetUnitTypePropertyContext(ctx, u.Name, "Service", name)
		if err != nil {
			u.err = fmt.Errorf("ask for %s of %s: %w", name, u.Name, err)
			return nil
		}
		return p.Value.Value()
	}
	u.Result, _ = service("Result").(string)
	if n, ok := service("NRestarts").(uint32); ok { // systemd 235 or later
		u.Restarts = int(n)
	}
	if name, _ := service("BusName").(string); name != "" {
		u.Triggered = true
	}
}
