package contract

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRoutes(t *testing.T) {
	v4 := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"bridge0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
		"ppp0\t00000000\t00000000\t0001\t0\t0\t5\t00000000\t0\t0\t0\n" +
		"eth9\t00000000\t010200C0\t0203\t0\t0\t0\t00000000\t0\t0\t0\n" + // rejected
		"bridge0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	v6 := strings.Repeat("0", 32) + " 00 " + strings.Repeat("0", 32) + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n" +
		strings.Repeat("0", 32) + " 00 " + strings.Repeat("0", 32) + " 00 " + strings.Repeat("0", 32) + " ffffffff 00000001 00000000 00200200       lo\n"
	have := []string{}
	for _, r := range append(parseRoute4(v4), parseRoute6(v6)...) {
		have = append(have, strings.Join([]string{r.family, r.iface, r.gateway.String(), either(r.announced, "ra", "set")}, " "))
	}
	want := []string{"inet bridge0 192.0.2.1 set", "inet ppp0 invalid IP set", "inet6 eth0 fe80::1 ra"}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

func TestParseSockets(t *testing.T) {
	tcp := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n" +
		"   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 100 0 0 10 0\n" +
		"   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 100 0 0 10 0\n"
	tcp6 := "   0: 000080FE00000000000000000100000A:0035 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100\n"
	have := []string{}
	for _, s := range append(parseSockets("tcp", tcp), parseSockets("tcp6", tcp6)...) {
		have = append(have, s.proto+" "+s.addr.String()+" "+s.uid+" "+s.inode)
	}
	want := []string{"tcp 0.0.0.0:22 0 4711", "tcp 127.0.0.1:8080 1000 12", "tcp [fe80::a00:1]:53 0 99"}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}

func TestParseOwnerCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/ssh.service\n":                                "ssh.service service",
		"0::/system.slice/system-ceph.slice/ceph-osd@1.service/child\n": "ceph-osd@1.service service",
		"12:devices:/x\n1:name=systemd:/system.slice/a.service\n0::/\n": "a.service service",
		"0::/init.scope\n": "init.scope service",
		"0::/user.slice/user-0.slice/user@0.service/app.slice/python.service\n":                                                            "session session",
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + strings.Repeat("a", 64) + ".scope\n": "container container",
		"0::/\n": "unknown unknown",
		"":       "unknown unknown",
	} {
		unit, by := parseOwnerCgroup(text)
		if unit+" "+by != want {
			t.Errorf("%q: have %s %s, want %s", text, unit, by, want)
		}
	}
}

func TestContainerRuntime(t *testing.T) {
	id := strings.Repeat("0f", 32)
	for name, want := range map[string]string{
		"cri-containerd-" + id + ".scope": "kubernetes", "crio-" + id + ".scope": "kubernetes", "docker-" + id + ".scope": "docker",
		"libpod-" + id + ".scope": "podman", "libpod-conmon-" + id + ".scope": "", "machine-qemu\\x2d1\\x2dvm.scope": "machine", "lxc.payload.web": "lxc",
		"docker.service": "", "session-1.scope": "", id: "",
	} {
		if have := containerRuntime(name); have != want {
			t.Errorf("%s: have %q, want %q", name, have, want)
		}
	}
}

func TestParseSmallFiles(t *testing.T) {
	if d := cmp.Diff([]swapArea{{"/dev/dm 1", "partition", 2048 << 10, "-2"}}, parseSwaps("Filename Type Size Used Priority\n/dev/dm\\0401 partition 2048 0 -2\n"), cmp.AllowUnexported(swapArea{})); d != "" {
		t.Error(d)
	}
	os := parseOSRelease("# c\nID=rocky\nID_LIKE=\"rhel centos fedora\"\nNAME='a \\\"b\\\"'\n")
	if d := cmp.Diff(map[string]string{"ID": "rocky", "ID_LIKE": "rhel centos fedora", "NAME": `a "b"`}, os); d != "" {
		t.Error(d)
	}
	hosts := parseHosts("127.0.1.1 node.lan node # here\n192.0.2.7\tNODE\n#192.0.2.8 node\n", "node")
	if d := cmp.Diff([]string{"127.0.1.1", "192.0.2.7"}, texts(hosts)); d != "" {
		t.Error(d)
	}
	resolv := parseResolvConf("search lan\nnameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver bad\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n")
	if d := cmp.Diff([]string{"192.0.2.1", "fe80::1%eth0", "192.0.2.3"}, texts(resolv)); d != "" {
		t.Error(d)
	}
	if have := mapperName("vg-a/lv-root"); have != "vg--a-lv--root" {
		t.Errorf("mapper name %s", have)
	}
}

func texts(all []netip.Addr) (out []string) {
	for _, a := range all {
		out = append(out, a.String())
	}
	return out
}

func TestLeadsTo(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	for text, want := range map[string]string{"": "nowhere", "127.0.1.1": "loopback", "127.0.1.1 192.0.2.7": "host", "198.51.100.1": "elsewhere"} {
		var addrs []netip.Addr
		for _, f := range strings.Fields(text) {
			addrs = append(addrs, netip.MustParseAddr(f))
		}
		if have := leadsTo(addrs, own); have != want {
			t.Errorf("%q leads to %s, want %s", text, have, want)
		}
	}
}

func FuzzTables(f *testing.F) {
	f.Add("eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n")
	f.Add("   0: 00000000:0016 00000000:0000 0A 0:0 00:0 0     0        0 4711 1\n")
	f.Add(strings.Repeat("0", 32) + " 00 " + strings.Repeat("0", 32) + " 00 fe800000000000000000000000000001 00000400 1 0 00450003 eth0\n")
	f.Add("0::/system.slice/ssh.service\n")
	f.Add("ID=\"debian\"\nnameserver 192.0.2.1\n127.0.0.1 vm\nE:ID_FS_UUID=1\n/dev/a partition 1 2 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range append(parseRoute4(text), parseRoute6(text)...) {
			if r.iface == "" {
				t.Error("a route without an interface")
			}
		}
		for _, proto := range []string{"tcp", "udp6"} {
			for _, s := range parseSockets(proto, text) {
				if !s.addr.IsValid() || s.addr.Port() == 0 {
					t.Errorf("a socket without an address: %+v", s)
				}
			}
		}
		if unit, by := parseOwnerCgroup(text); unit == "" || by == "" {
			t.Error("an owner without a name")
		}
		parseOSRelease(text)
		parseSwaps(text)
		parseUdev(text)
		parseHosts(text, "vm")
		if n := len(parseResolvConf(text)); n > maxServers {
			t.Errorf("%d servers", n)
		}
		containerRuntime(text)
	})
}

func FuzzUnitPath(f *testing.F) {
	f.Add(`mnt-a\x2db`)
	f.Add("-")
	f.Fuzz(func(t *testing.T, name string) {
		if p := unitPath(name); !strings.HasPrefix(p, "/") || len(p) > len(name)+1 {
			t.Errorf("%q is %q", name, p)
		}
	})
}

func FuzzMounts(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add("1 1 0:1 / / rw - btrfs /dev/sda2 ro\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseMounts(text)
		seen := map[string]bool{}
		for _, m := range all {
			if err != nil || seen[m.Mountpoint] {
				t.Fatalf("two mounts on %q, or mounts with an error %v", m.Mountpoint, err)
			}
			seen[m.Mountpoint] = true
			keptMount(m, (&origin{}).by(m.Mountpoint))
			readOnly(m)
		}
	})
}

func FuzzDNS(f *testing.F) {
	f.Add([]byte{0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseDNS(b); err == nil {
			readAnswer(m, dnsTypes["A"])
		}
	})
}

func FuzzJSONPath(f *testing.F) {
	f.Add(`{"items":[{"state":"ok"}]}`, "items.0.state")
	f.Fuzz(func(t *testing.T, doc, path string) {
		j := JSONCheck{Path: path, Equals: "ok"}
		if why := j.wrong(doc); why == "" && !strings.Contains(doc, "ok") && !strings.Contains(doc, `\`) {
			t.Errorf("%q at %q is ok", doc, path)
		}
	})
}
