package contract

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"lastgood/internal/snapshot"
)

// fakeUnit is a unit of the fake systemd.
type fakeUnit struct {
	name, load, active, sub, fragment, file string
	triggeredBy                             []string
	result, busName, job                    string
	restarts                                uint32
}

// fakeSystemd answers as systemd's private socket does: authentication EXTERNAL, then calls without a greeting.
type fakeSystemd struct {
	state string
	units []fakeUnit
	jobs  []systemd.JobStatus
	mute  bool          // it takes calls and never answers
	slow  time.Duration // what each answer takes
}

// listen serves on a socket of its own until the test ends.
func (f *fakeSystemd) listen(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "private")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return name
}

func (f *fakeSystemd) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for { // the SASL lines of the D-Bus specification
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimLeft(line, "\x00"); {
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			fmt.Fprint(c, "OK 0123456789abcdef0123456789abcdef\r\n")
		case strings.HasPrefix(line, "AUTH"):
			fmt.Fprint(c, "REJECTED EXTERNAL\r\n")
		case strings.HasPrefix(line, "NEGOTIATE"):
			fmt.Fprint(c, "ERROR\r\n")
		case strings.HasPrefix(line, "BEGIN"):
			f.calls(c, r)
			return
		}
	}
}

func (f *fakeSystemd) calls(w io.Writer, r io.Reader) {
	for serial := uint32(1); ; serial++ {
		m, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		if f.mute || m.Type != dbus.TypeMethodCall {
			continue
		}
		time.Sleep(f.slow) // a machine that is busy, and not a wait for anything
		body := f.answer(m)
		out := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(m.Serial())}}
		if body == nil {
			out.Type = dbus.TypeError
			out.Headers[dbus.FieldErrorName] = dbus.MakeVariant("org.freedesktop.DBus.Error.UnknownProperty")
		} else {
			out.Body = body
			out.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
		}
		if err := encodeWithSerial(out, serial, w); err != nil {
			return
		}
	}
}

// encodeWithSerial writes a message; its serial number stands in bytes 8 to 11 of the header.
func encodeWithSerial(m *dbus.Message, serial uint32, w io.Writer) error {
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:12], serial)
	_, err := w.Write(b.Bytes())
	return err
}

func (f *fakeSystemd) answer(m *dbus.Message) []any {
	member, _ := m.Headers[dbus.FieldMember].Value().(string)
	at, _ := m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	switch member {
	case "AddMatch":
		return []any{}
	case "ListUnits":
		var list []systemd.UnitStatus
		for _, u := range f.units {
			list = append(list, systemd.UnitStatus{Name: u.name, LoadState: u.load, ActiveState: u.active, SubState: u.sub, Path: "/u", JobType: u.job, JobPath: "/"})
		}
		return []any{list}
	case "ListJobs":
		if f.jobs == nil {
			return []any{[]systemd.JobStatus{}}
		}
		return []any{f.jobs}
	case "Get":
		property, _ := m.Body[1].(string)
		if property == "SystemState" {
			return []any{dbus.MakeVariant(f.state)}
		}
		for _, u := range f.units {
			if systemd.PathBusEscape(u.name) == filepath.Base(string(at)) {
				return u.property(property)
			}
		}
	}
	return nil
}

func (u *fakeUnit) property(name string) []any {
	by := u.triggeredBy
	if by == nil {
		by = []string{}
	}
	v, known := map[string]any{"FragmentPath": u.fragment, "UnitFileState": u.file, "TriggeredBy": by, "Result": u.result, "NRestarts": u.restarts, "BusName": u.busName}[name]
	if !known {
		return nil
	}
	return []any{dbus.MakeVariant(v)}
}

func dialFake(t *testing.T, f *fakeSystemd) *systemd.Conn {
	t.Helper()
	conn, err := dialBus(t.Context(), f.listen(t), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func someUnits() []fakeUnit {
	return []fakeUnit{
		{name: "ssh.service", load: "loaded", active: "active", sub: "running", file: "enabled", result: "success"},
		{name: "ceph-osd@1.service", load: "loaded", active: "failed", sub: "failed", file: "enabled-runtime", result: "start-limit-hit", restarts: 3},
		{name: "loop.service", load: "loaded", active: "activating", sub: "auto-restart", file: "enabled", result: "exit-code", restarts: 7},
		{name: "libvirtd.service", load: "loaded", active: "inactive", sub: "dead", file: "enabled", triggeredBy: []string{"libvirtd.socket"}, result: "success"},
		{name: "polkit.service", load: "loaded", active: "active", sub: "running", file: "static", busName: "org.freedesktop.PolicyKit1", result: "success"},
		{name: "run-u12.service", load: "loaded", active: "active", sub: "running"},
		{name: "build.service", load: "loaded", active: "active", sub: "running", fragment: "/run/systemd/transient/build.service", result: "success"},
		{name: "session-4.scope", load: "loaded", active: "active", sub: "running"},
		{name: "ghost.service", load: "not-found", active: "inactive", sub: "dead"},
		{name: "ssh.socket", load: "loaded", active: "active", sub: "listening", file: "enabled"},
	}
}

func TestUnits(t *testing.T) {
	subjects, err := unitsOf(t.Context(), dialFake(t, &fakeSystemd{state: "degraded", units: someUnits()}))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, s := range subjects {
		have[s.ID] = strings.Join([]string{s.Text("state"), s.Text("starts"), s.Text("result"), s.Attrs["restarts"].String()}, " ")
	}
	want := map[string]string{
		"ssh.service": "active boot success 0", "ceph-osd@1.service": "failed boot start-limit-hit 3", "loop.service": "restarting boot exit-code 7",
		"libvirtd.service": "inactive demand success 0", "polkit.service": "active demand success 0", "ssh.socket": "active boot  -",
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

// TestUnitsWhileStarting holds units that do not run yet for open, and the source for incomplete.
func TestUnitsWhileStarting(t *testing.T) {
	f := &fakeSystemd{state: "starting", jobs: []systemd.JobStatus{{Id: 7, Unit: "network-online.target", JobType: "start", Status: "running", JobPath: "/j", UnitPath: "/u"}}, units: []fakeUnit{
		{name: "kubelet.service", load: "loaded", active: "inactive", sub: "dead", file: "enabled", result: "success"},
		{name: "bad.service", load: "loaded", active: "failed", sub: "failed", file: "enabled", result: "exit-code"},
	}}
	subjects, err := unitsOf(t.Context(), dialFake(t, f))
	if err == nil {
		t.Error("a system that still starts was read as if it had started")
	}
	for _, s := range subjects {
		want := snapshot.Measured
		if s.ID == "kubelet.service" {
			want = snapshot.Inconclusive
		}
		if s.Outcome != want {
			t.Errorf("%s is %s, want %s", s.ID, s.Outcome, want)
		}
	}
}

// TestUnitsBehindTheGate: while lastgood itself is the only job at work, the system has come as far as it can; a unit that waits
// for it is neither up nor stopped.
func TestUnitsBehindTheGate(t *testing.T) {
	f := &fakeSystemd{state: "starting", jobs: []systemd.JobStatus{
		{Id: 1, Unit: "lastgood-gate.service", JobType: "start", Status: "running", JobPath: "/j", UnitPath: "/u"},
		{Id: 2, Unit: "kubelet.service", JobType: "start", Status: "waiting", JobPath: "/j", UnitPath: "/u"},
	}, units: []fakeUnit{
		{name: "kubelet.service", load: "loaded", active: "inactive", sub: "dead", file: "enabled", result: "success", job: "start"},
		{name: "stopped.service", load: "loaded", active: "inactive", sub: "dead", file: "enabled", result: "success"},
	}}
	subjects, err := unitsOf(t.Context(), dialFake(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"service.unit/kubelet.service state=activating", "service.unit/stopped.service state=inactive"}, told(subjects, "state")); d != "" {
		t.Error(d)
	}
}

// TestBusDeaf: a bus that takes calls and never answers costs a bounded time and is no answer.
func TestBusDeaf(t *testing.T) {
	socket := (&fakeSystemd{mute: true}).listen(t)
	start := time.Now()
	conn, err := dialBus(t.Context(), socket, false)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := unitsOf(t.Context(), conn); err == nil {
		t.Error("a deaf bus gave units")
	}
	if took := time.Since(start); took > 3*busPatience {
		t.Errorf("it took %v", took)
	}
}

// TestBusSlow: systemd that answers, and takes longer for all of it than one answer may take, is
// asked to the end.
func TestBusSlow(t *testing.T) {
	f := &fakeSystemd{state: "running", slow: 12 * time.Millisecond}
	for i := range 18 {
		f.units = append(f.units, fakeUnit{name: fmt.Sprintf("d%d.service", i), load: "loaded", active: "active", sub: "running", file: "enabled", result: "success"})
	}
	start := time.Now()
	subjects, err := unitsOf(t.Context(), dialFake(t, f))
	if err != nil || len(subjects) != len(f.units) {
		t.Fatalf("%d units, %v", len(subjects), err)
	}
	for _, s := range subjects {
		if s.Outcome != snapshot.Measured || len(s.Errs) > 0 {
			t.Errorf("%s: %s %s %v", s.ID, s.Outcome, s.Reason, s.Errs)
		}
	}
	if took := time.Since(start); took < busPatience {
		t.Errorf("it took %v, which shows nothing", took)
	}
}

func TestBusAbsent(t *testing.T) {
	_, err := dialBus(context.Background(), filepath.Join(t.TempDir(), "none"), true)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v, want it to say that the socket is not there", err)
	}
}

func TestUnitCheck(t *testing.T) {
	two := 2
	conn := dialFake(t, &fakeSystemd{state: "running", units: someUnits()})
	for _, c := range []struct {
		check UnitCheck
		why   string
		final bool
	}{
		{UnitCheck{Name: "ssh.service"}, "", false},
		{UnitCheck{Name: "none.service"}, "none.service is not loaded: there is no such unit, or nothing asked for it", false},
		{UnitCheck{Name: "libvirtd.service", State: "inactive"}, "", false},
		{UnitCheck{Name: "loop.service", State: "not-failed"}, "loop.service is restarting (auto-restart, exit-code)", false},
		{UnitCheck{Pattern: "ceph-*", MaxRestarts: &two, FailFastOn: []string{"start-limit-hit"}},
			"ceph-osd@1.service is failed (failed, start-limit-hit); systemd does not try again: systemctl reset-failed ceph-osd@1.service", true},
	} {
		a, err := c.check.weigh(t.Context(), conn)
		if err != nil || a.why != c.why || a.final != c.final {
			t.Errorf("%+v: have %q %v %v, want %q %v", c.check, a.why, a.final, err, c.why, c.final)
		}
	}
}
