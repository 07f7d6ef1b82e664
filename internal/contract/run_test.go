package contract

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// runnerOn asks this machine, with the files of a tree.
func runnerOn(files map[string]string) *Runner {
	return &Runner{Host: source.Host{Root: sysfs.New(&sysfstest.FS{Files: files})}, live: true}
}

// checks reads checks from YAML, each a line "id: …" of a flow mapping's inside.
func checks(t *testing.T, lines ...string) []Contract {
	t.Helper()
	text := head + "checks:\n"
	for _, l := range lines {
		text += "  - {" + l + "}\n"
	}
	all, err := Parse([]byte(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestChecks tries each kind of check where it is met and where it is not.
func TestChecks(t *testing.T) {
	dns := dnsServerOn(t, "ns.example.org", "192.0.2.53", true)
	dnsUDP := dnsServerOn(t, "ns.example.org", "192.0.2.53", false)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, "ok\n")
	}))
	defer web.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	script(t, "virsh", "case \"$*\" in *--autostart*) echo vm1; echo vm2;; *) echo vm1;; esac\n")
	script(t, "ceph", `echo '{"epoch":7,"osds":[{"osd":1,"up":1,"in":1},{"osd":2,"up":0,"in":1},{"osd":3,"up":1,"in":0}]}'`)
	r := runnerOn(map[string]string{
		"/proc/uptime": "100.5 3\n", "/proc/sys/kernel/hostname": "node.lan\n", "/etc/hosts": "127.0.1.1 node.lan node\n",
		"/proc/net/route": "bridge0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", "/proc/net/ipv6_route": "",
		"/sys/class/net/bridge0/brif/eth0/x": "", "/sys/class/net/bridge0/carrier": "1\n", "/sys/class/net/bridge0/mtu": "1500\n",
		"/proc/7/comm": "pmxcfs\n", "/proc/1/mountinfo": "1 0 0:5 / / rw - ext4 /dev/sda1 rw\n2 1 0:6 / /etc/pve rw - fuse.pmxcfs pmxcfs ro\n",
		"/etc/pve/nodes/node/qemu-server/100.conf": "", "/etc/pve/nodes/node/qemu-server/101.conf": "", "/etc/fstab": "/dev/sda1 / ext4 defaults 0 1\nUUID=7 /gone ext4 defaults 0 2\n",
		"/etc/x.conf": "mode = fast\n", "/sys/class/block/dm-0/dm/uuid": "LVM-" + strings.Repeat("a", 64), "/sys/class/block/dm-0/dm/name": "vg-root", "/sys/class/block/dm-0/dm/suspended": "0",
	})
	missing := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		check string
		state State
		why   string
	}{
		{"dns: {server: '" + dns + "', name: ns.example.org, equals: [192.0.2.53], transport: [udp, tcp]}", Pass, ""},
		{"dns: {server: '" + dnsUDP + "', name: ns.example.org, equals: [192.0.2.53], transport: [udp, tcp]}", Fail, "over tcp for ns.example.org: dial tcp"},
		{"dns: {server: '" + dns + "', name: ns.example.org, equals: [192.0.2.54]}", Fail, "ns.example.org is 192.0.2.53, want 192.0.2.54"},
		{"dns: {server: '" + dns + "', name: no.example.org}", Fail, "no.example.org is NXDOMAIN, want NOERROR"},
		{"dns: {server: '" + dns + "', name: no.example.org, rcode: NXDOMAIN}", Pass, ""},
		{"http: {url: '" + web.URL + "/healthz', body: '^ok'}", Pass, ""},
		{"http: {url: '" + web.URL + "/'}", Fail, "/ answers 503, want 200"},
		{"http: {url: '" + web.URL + "/healthz', body: sick}", Fail, "does not match sick"},
		{"http: {url: 'http://" + nobody + "/'}", Fail, "connection refused"},
		{"tcp: {address: '" + web.Listener.Addr().String() + "'}", Pass, ""},
		{"tcp: {address: '" + nobody + "'}", Fail, "takes no connection"},
		{"libvirt: {}", Pass, ""},
		{"libvirt: {autostart_running: true}", Fail, "vm2 is not running"},
		{"ceph_osd: {ids: [1]}", Pass, ""},
		{"ceph_osd: {ids: [1, 2, 3, 9]}", Fail, "osd.2 is down; osd.3 is out; osd.9 is not in the cluster's map"},
		{"ceph_osd: {}", Fail, "no OSD's data on this host"},
		{"route: {dev: bridge0, gateway: 192.0.2.1}", Pass, ""},
		{"route: {dev: eth0}", Fail, "leaves by bridge0, want eth0"},
		{"route: {family: inet6}", Fail, "no default route of inet6"},
		{"link: {name: bridge0, kind: bridge, carrier: true, ports: [eth0], mtu: 1500}", Pass, ""},
		{"link: {name: bridge0, kind: bond, ports: [eth1]}", Fail, "bridge0 is bridge, want bond; eth1 is no port of bridge0"},
		{"link: {name: bridge1}", Fail, "there is no interface bridge1"},
		{"hostname: {equals: node.lan}", Pass, ""},
		{"hostname: {forbid_loopback: true}", Fail, "node leads to 127.0.1.1, which is loopback"},
		{"process: {name: pmxcfs}", Pass, ""},
		{"process: {name: corosync}", Fail, "0 processes of the name corosync, 1 at least"},
		{"mount: {path: /etc/pve, fstype: fuse}", Pass, ""},
		{"mount: {path: /etc/pve, mode: rw}", Fail, "/etc/pve is mounted ro, want rw"},
		{"mount: {path: /srv}", Fail, "/srv is not mounted"},
		{"mount: {path: /, uuid: aa}", Unknown, "is not known to udev"},
		{"count: {glob: '/etc/pve/nodes/*/qemu-server/*.conf', at_least: 2}", Pass, ""},
		{"count: {glob: '/etc/pve/nodes/*/qemu-server/*.conf', at_least: 3}", Fail, "2 paths match"},
		{"fstab: {stable_specs_only: true, mounted: true, resolvable: true}", Fail, "line 1 names /dev/sda1 by the order in which disks are found; /dev/sda1 of line 1 is not there; UUID=7 of line 2 is not there; /gone is not mounted"},
		{"file: {path: /etc/x.conf, regexp: '(?m)^mode = fast$'}", Pass, ""},
		{"file: {path: /etc/x.conf, exists: false}", Fail, "/etc/x.conf is there"},
		{"lvm: {volumes: [vg/root]}", Pass, ""},
		{"lvm: {volumes: [vg/data]}", Fail, "vg/data is not active"},
		{"block_device: {path: " + missing + "}", Fail, "0 paths match"},
		{"exec: {command: [sh, -c, 'echo \"{\\\"a\\\": [{\\\"b\\\": 3}]}\"'], json: {path: a.0.b, equals: '3', at_least: 3}}", Pass, ""},
		{"exec: {command: [sh, -c, 'echo no >&2; exit 4']}", Fail, "sh ended with 4, want 0: no"},
		{"exec: {command: [sh, -c, 'echo hello'], regexp: '^bye'}", Fail, "does not match ^bye"},
		{"exec: {command: [sh, -c, 'echo x'], json: {path: a, equals: b}}", Fail, "it is no JSON"},
		{"exec: {command: [no-such-program-here]}", Unknown, "no such program on this host"},
		{"bpf: {objects: [/etc/x.conf]}", Unknown, "whose path is not known"},
		{"unit: {name: ssh.service}, timeout: 3s", "", ""}, // this host may or may not have systemd: it must answer something
	} {
		res := r.Once(t.Context(), checks(t, "id: a, "+c.check))[0]
		if c.state == "" {
			continue
		}
		if res.State != c.state || !strings.Contains(res.Why, c.why) || (c.why == "") != (res.Why == "") {
			t.Errorf("%s\nhave %s %q\nwant %s %q", c.check, res.State, res.Why, c.state, c.why)
		}
	}
}

// TestNotAsked: nothing is asked of the machine for a recorded host.
func TestNotAsked(t *testing.T) {
	r := runnerOn(nil)
	r.live = false
	for _, c := range []string{"tcp: {address: '127.0.0.1:1'}", "exec: {command: ['true']}", "unit: {name: a.service}", "libvirt: {}", "http: {url: 'http://127.0.0.1:1/'}"} {
		if res := r.Once(t.Context(), checks(t, "id: a, "+c))[0]; res.State != Unknown {
			t.Errorf("%s: have %s %s", c, res.State, res.Why)
		}
	}
}

// TestExecBounds: a command that hangs is killed with its children, one that prints a megabyte is cut.
func TestExecBounds(t *testing.T) {
	note := filepath.Join(t.TempDir(), "pid")
	r := runnerOn(map[string]string{"/proc/uptime": "100 1"})
	start := time.Now()
	res := r.Once(t.Context(), checks(t, "id: a, timeout: 300ms, exec: {command: [sh, -c, 'sleep 600 & echo $! > "+note+"; wait']}"))[0]
	if res.State != Fail || !strings.Contains(res.Why, "did not end in time and was killed") || time.Since(start) > 5*time.Second {
		t.Errorf("have %s %q after %v", res.State, res.Why, time.Since(start))
	}
	b, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	ended(t, strings.TrimSpace(string(b)))
	got, err := runCommand(t.Context(), []string{"sh", "-c", "head -c 1048576 /dev/zero | tr '\\0' x"})
	if err != nil || got.status != 0 || len(got.output) != maxOutput || !got.cut {
		t.Errorf("have %d bytes, cut %v, status %d, %v", len(got.output), got.cut, got.status, err)
	}
	for _, want := range []string{"json: {path: a, equals: b}", "regexp: ready"} {
		res = r.Once(t.Context(), checks(t, "id: a, exec: {command: [sh, -c, 'head -c 1048576 /dev/zero; echo ready'], "+want+"}"))[0]
		if res.State != Unknown || !strings.Contains(res.Why, "longer than 65536 bytes") {
			t.Errorf("%s: have %s %q", want, res.State, res.Why)
		}
	}
}

// ended waits for a process that was killed to be gone, five seconds at most.
func ended(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if err != nil {
		return // it is gone
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000); n != 1 {
		t.Errorf("process %s still runs: %v", pid, err)
	}
}

// uptimeFS is a tree whose clock is the bubble's.
type uptimeFS struct {
	sysfs.FS
	start time.Time
}

func (f uptimeFS) ReadFile(name string, max int) ([]byte, error) {
	return []byte(fmt.Sprintf("%.2f 0", time.Since(f.start).Seconds())), nil
}

func (f uptimeFS) Exists(name string) (bool, error) {
	return time.Since(f.start) >= 10*time.Second && time.Since(f.start) < 40*time.Second, nil
}

// TestWait: a check is tried until it has held for stable_for, or its time since the boot is over. The file is there from the
// tenth to the fortieth second after the boot.
func TestWait(t *testing.T) {
	for _, c := range []struct {
		check string
		state State
		took  time.Duration
	}{
		{"within: 30s, every: 1s", Pass, 10 * time.Second},
		{"within: 30s, every: 1s, stable_for: 20s", Pass, 30 * time.Second},
		{"within: 30s, every: 1s, stable_for: 35s", Fail, 40 * time.Second},
		{"within: 5s, every: 1s", Fail, 5 * time.Second},
		{"within: 30s, every: 1s, fail_fast: true", Fail, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			r := Runner{Host: source.Host{Root: sysfs.New(uptimeFS{start: start})}}
			res := r.Wait(t.Context(), checks(t, "id: a, "+c.check+", file: {path: /x}"), nil)[0]
			if took := time.Since(start); res.State != c.state || took != c.took {
				t.Errorf("%s: have %s after %v, want %s after %v", c.check, res.State, took, c.state, c.took)
			}
		})
	}
}

// TestOnceNotDue: before its time is over a check that does not hold is no failure.
func TestOnceNotDue(t *testing.T) {
	r := runnerOn(map[string]string{"/proc/uptime": "40.00 1"})
	res := r.Once(t.Context(), checks(t, "id: a, within: 90s, file: {path: /x}", "id: b, within: 30s, file: {path: /x}", "id: c, within: 90s, fail_fast: true, file: {path: /x}"))
	have := []State{res[0].State, res[1].State, res[2].State}
	if d := cmp.Diff([]State{Pending, Fail, Fail}, have); d != "" {
		t.Error(d)
	}
	if s := res[0].Subject(); s.Outcome != snapshot.Inconclusive || s.Text("state") != "" {
		t.Errorf("a check that is not due became %+v", s)
	}
}

// TestInterrupted: a check that is not waited for to its end is no failure and no pass.
func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r := runnerOn(map[string]string{"/proc/uptime": "1 1", "/x": ""})
	res := r.Wait(ctx, checks(t, "id: a, within: 1h, stable_for: 1h, file: {path: /x}", "id: b, within: 1h, file: {path: /y}"), func() func(Result) {
		var n atomic.Int32
		return func(Result) {
			if n.Add(1) == 2 {
				stop()
			}
		}
	}())
	for _, r := range res {
		if r.State != Unknown {
			t.Errorf("%s is %s (%s)", r.ID, r.State, r.Why)
		}
	}
}

// TestSideBySide: slow checks do not add up, and every failure is told.
func TestSideBySide(t *testing.T) {
	var lines []string
	for i := range 8 {
		lines = append(lines, fmt.Sprintf("id: c%d, exec: {command: [sh, -c, 'sleep 0.5; exit 1']}", i))
	}
	r := runnerOn(map[string]string{"/proc/uptime": "100 1"})
	start := time.Now()
	failed := 0
	for _, res := range r.Once(t.Context(), checks(t, lines...)) {
		if res.State == Fail {
			failed++
		}
	}
	if took := time.Since(start); failed != 8 || took > 3*time.Second {
		t.Errorf("%d failed in %v", failed, took)
	}
}

func TestSameAsBaseline(t *testing.T) {
	r := runnerOn(map[string]string{"/proc/uptime": "100 1", "/c/1.conf": "", "/c/2.conf": ""})
	r.Baseline = map[string][]string{"a": {"/c/1.conf", "/c/2.conf", "/c/3.conf"}}
	all := checks(t, "id: a, same_as_baseline: true, count: {glob: '/c/*.conf'}")
	res := r.Once(t.Context(), all)[0]
	if res.State != Fail || res.Why != "/c/3.conf of the last good boot is missing" {
		t.Errorf("have %s %q", res.State, res.Why)
	}
	r.Baseline = nil
	if res = r.Once(t.Context(), all)[0]; res.State != Pass || len(res.Observed) != 2 {
		t.Errorf("without a baseline: have %s %v", res.State, res.Observed)
	}
}

func TestReadPrograms(t *testing.T) {
	b := BPFCheck{MaxInsns: 100}
	a, err := b.weigh("file_name,prog_name,verdict,duration,total_insns\na.o,p,success,1,50\na.o,q,success,1,500\na.o,r,failure,1,0\n")
	want := "q of a.o takes 500 instructions, 100 at most, the kernel refuses r of a.o"
	if err != nil || a.why != want || !cmp.Equal(a.observed, []string{"a.o/p"}) {
		t.Errorf("have %q %v %v", a.why, a.observed, err)
	}
	for _, bad := range []string{"", "a,b\n", "file_name,prog_name,verdict,total_insns\na,b,success,many\n", "file_name,prog_name,verdict,total_insns\n"} {
		if _, err := b.weigh(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
