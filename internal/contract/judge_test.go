package contract_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/contract"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
)

// state is a subject: "kind/id" and its attributes as "name=value …".
func subject(t *testing.T, text string) snapshot.Subject {
	t.Helper()
	f := strings.Fields(text)
	kind, id, _ := strings.Cut(f[0], "|")
	s := snapshot.Subject{Kind: kind, ID: id, Outcome: snapshot.Measured}
	for _, a := range f[1:] {
		name, v, _ := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(v, "["):
			s.Set(name, snapshot.List(strings.FieldsFunc(strings.Trim(v, "[]"), func(r rune) bool { return r == ',' })...))
		case name == "running" || name == "restarts":
			s.Set(name, snapshot.Int(len(v))) // "xx" is two
		default:
			s.Set(name, snapshot.Text(v))
		}
	}
	return s
}

func snap(t *testing.T, kinds snapshot.Kinds, lines ...string) *snapshot.Snapshot {
	t.Helper()
	all := slices.Sorted(maps.Keys(kinds))
	s := &snapshot.Snapshot{Subjects: []snapshot.Subject{{Kind: snapshot.SourceKind, ID: "test", Outcome: snapshot.Measured, Attrs: snapshot.Attrs{snapshot.SourceKinds: snapshot.List(all...)}}}}
	for _, l := range lines {
		if l != "" {
			s.Subjects = append(s.Subjects, subject(t, l))
		}
	}
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	return s
}

func kindsOf(t *testing.T) snapshot.Kinds {
	t.Helper()
	kinds, err := source.Kinds(contract.Sources())
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// TestJudged: what was healthy and is not fails a boot; what was broken before, is new, or came and went does not.
func TestJudged(t *testing.T) {
	kinds := kindsOf(t)
	for _, c := range []struct{ name, old, new, want string }{
		{"unit failed", "service.unit|a.service state=active starts=boot", "service.unit|a.service state=failed starts=boot result=exit-code", "critical unit-failed"},
		{"unit restarting", "service.unit|a.service state=active starts=boot", "service.unit|a.service state=restarting starts=boot", "critical unit-restarting"},
		{"unit failed before", "service.unit|a.service state=failed starts=boot", "service.unit|a.service state=failed starts=boot", ""},
		{"unit idle", "service.unit|libvirtd.service state=active starts=demand", "service.unit|libvirtd.service state=inactive starts=demand", ""},
		{"unit stopped", "service.unit|a.service state=active starts=boot", "service.unit|a.service state=inactive starts=boot", "critical unit-stopped"},
		{"unit gone", "service.unit|a.service state=active starts=boot", "", "critical unit-missing"},
		{"unit of a timer gone", "service.unit|a.service state=inactive starts=other", "", ""},
		{"unit new and failed", "", "service.unit|a.service state=failed starts=boot", "info unit-new-failed"},
		{"unit well again", "service.unit|a.service state=failed starts=boot", "service.unit|a.service state=active starts=boot", ""},
		{"mount of fstab gone", "service.mount|/srv by=fstab", "", "critical mount-missing"},
		{"mount by hand gone", "service.mount|/mnt by=hand", "", "info mount-missing"},
		{"mount on demand gone", "service.mount|/home by=demand", "", "info mount-missing"},
		{"mount of a unit gone", "service.mount|/srv by=unit", "", "critical mount-missing"},
		{"mount read-only", "service.mount|/ mode=rw by=fstab", "service.mount|/ mode=ro by=fstab", "critical mount-read-only"},
		{"mount always read-only", "service.mount|/ mode=ro by=fstab", "service.mount|/ mode=ro by=fstab", ""},
		{"other file system", "service.mount|/srv uuid=1 by=fstab", "service.mount|/srv uuid=2 by=fstab", "critical mount-other-filesystem"},
		{"there and not mounted", "service.filesystem|u mounted=boot", "service.filesystem|u mounted=no node=/dev/sdb", "critical filesystem-not-mounted"},
		{"commented out", "service.fstab|/srv state=active", "service.fstab|/srv state=commented", "warning fstab-commented-out"},
		{"EPERM", "service.block|fs:1 opens=yes", "service.block|fs:1 opens=EPERM", "critical block-not-openable"},
		{"EPERM before", "service.block|fs:1 opens=EPERM", "service.block|fs:1 opens=EPERM", ""},
		{"other errno", "service.block|fs:1 opens=EPERM", "service.block|fs:1 opens=EACCES", "info block-errno-changed"},
		{"SELinux label", "service.block|fs:1 opens=yes label=fixed_disk_device_t", "service.block|fs:1 opens=yes label=device_t", "warning block-label-changed"},
		{"SELinux label, and not opened for it", "service.block|fs:1 opens=yes label=fixed_disk_device_t", "service.block|fs:1 opens=EACCES label=device_t", "critical block-not-openablewarning block-label-changed"},
		{"owner", "service.block|fs:1 opens=yes owner=0:6", "service.block|fs:1 opens=yes owner=0:0", "warning block-owner-changed"},
		{"swap gone", "service.swap|uuid:1 path=/dev/sda2", "", "warning swap-missing"},
		{"route gone", "net.route|inet/bridge0 by=set", "", "critical route-missing"},
		{"gateway silent", "net.route|inet/bridge0 reachable=yes", "net.route|inet/bridge0 reachable=no", "critical gateway-unreachable"},
		{"gateway not known", "net.route|inet/bridge0 reachable=yes", "net.route|inet/bridge0", ""},
		{"address gone", "net.address|192.0.2.1 lasting=yes floating=no interface=eth0", "", "critical address-missing"},
		{"floating address gone", "net.address|192.0.2.9 lasting=yes floating=yes interface=eth0", "", "warning address-missing"},
		{"leased address gone", "net.address|192.0.2.1 lasting=no interface=eth0", "", "warning address-missing"},
		{"bridge without port", "net.bridge|bridge0 ports=[eth0] carrier=yes", "net.bridge|bridge0 ports=[] carrier=yes", "critical bridge-port-lost"},
		{"service's port gone", "net.listener|tcp/0.0.0.0:22 by=service unit=ssh.service", "", "critical listener-missing"},
		{"session's port gone", "net.listener|tcp/0.0.0.0:80 by=session unit=session", "", "info listener-missing"},
		{"all resolvers", "net.resolver|any all=yes answers=yes", "net.resolver|any all=yes answers=no", "critical resolver-silent"},
		{"one resolver", "net.resolver|192.0.2.1 all=no answers=yes", "net.resolver|192.0.2.1 all=no answers=no", "warning resolver-silent"},
		{"loopback", "host.name|host leads_to=host pmxcfs=no", "host.name|host leads_to=loopback pmxcfs=no", "warning hostname-leads-nowhere"},
		{"loopback on Proxmox", "host.name|host leads_to=host pmxcfs=yes", "host.name|host leads_to=loopback pmxcfs=yes", "critical hostname-leads-nowhere"},
		{"clock", "time.sync|clock synchronized=yes", "time.sync|clock synchronized=no", "warning clock-not-synchronized"},
		{"no container", "container.count|docker any=yes autostart=yes running=xx", "container.count|docker any=no autostart=yes running=", "critical containers-none"},
		{"no container, started by hand", "container.count|docker any=yes autostart=no running=xx", "container.count|docker any=no autostart=no running=", "warning containers-none"},
		{"fewer containers", "container.count|docker any=yes running=xx", "container.count|docker any=yes running=x", ""},
		{"required, broken now", "contract.check|a state=pass severity=required", "contract.check|a state=fail severity=required", "critical contract-broken"},
		{"required, broken before", "contract.check|a state=fail severity=required", "contract.check|a state=fail severity=required", "critical contract-not-met"},
		{"required, new", "", "contract.check|a state=fail severity=required", "critical contract-not-met"},
		{"wanted", "contract.check|a state=pass severity=wanted", "contract.check|a state=fail severity=wanted", "warning contract-broken"},
		{"met", "contract.check|a state=fail severity=required", "contract.check|a state=pass severity=required", ""},
		{"fewer than before", "contract.check|a state=pass severity=required same_as_baseline=yes observed=[1,2]", "contract.check|a state=pass severity=required same_as_baseline=yes observed=[1]", "critical contract-less"},
	} {
		j := compare.Judge(snap(t, kinds, c.old), snap(t, kinds, c.new), kinds, compare.Policy{})
		have := ""
		for _, f := range j.Findings {
			have += string(f.Severity) + " " + f.Code
			if strings.Contains(f.Message, "{") || strings.Contains(f.Hint, "{attr") {
				t.Errorf("%s: message %q, hint %q", c.name, f.Message, f.Hint)
			}
		}
		if have != c.want {
			t.Errorf("%s: have %q, want %q", c.name, have, c.want)
		}
		if fails := strings.HasPrefix(c.want, "critical"); fails != (j.Verdict == snapshot.Regressed) {
			t.Errorf("%s: verdict %s", c.name, j.Verdict)
		}
	}
}

// TestFolded: a failed service explains the port that nobody listens on, an unmounted file system the mount that is not there.
func TestFolded(t *testing.T) {
	kinds := kindsOf(t)
	port := func(s *snapshot.Snapshot) *snapshot.Snapshot {
		for i := range s.Subjects {
			switch s.Subjects[i].Kind {
			case "net.listener":
				s.Subjects[i].Parent = "service.unit/ssh.service"
			case "service.mount":
				s.Subjects[i].Parent = "service.filesystem/u"
			}
		}
		return s
	}
	old := port(snap(t, kinds, "service.unit|ssh.service state=active starts=boot", "net.listener|tcp/0.0.0.0:22 by=service unit=ssh.service", "service.filesystem|u mounted=boot", "service.mount|/srv by=fstab"))
	j := compare.Judge(old, snap(t, kinds, "service.unit|ssh.service state=failed starts=boot", "service.filesystem|u mounted=no"), kinds, compare.Policy{})
	var have []string
	for _, f := range j.Findings {
		have = append(have, f.Code)
	}
	if d := cmp.Diff([]string{"filesystem-not-mounted", "unit-failed"}, have); d != "" {
		t.Error(d)
	}
}

// TestUnitsThatCannotBeAsked: without the bus nothing is known of units: that is no regression, and no good boot.
func TestUnitsThatCannotBeAsked(t *testing.T) {
	kinds := kindsOf(t)
	old := snap(t, kinds, "service.unit|a.service state=active starts=boot")
	now := snap(t, kinds)
	for i := range now.Subjects {
		if s := &now.Subjects[i]; s.Kind == snapshot.SourceKind {
			s.Outcome, s.Reason = snapshot.Inconclusive, "connect to systemd: no such file"
		}
	}
	j := compare.Judge(old, now, kinds, compare.Policy{})
	if j.Verdict != snapshot.Incomplete || len(j.Findings) > 0 || len(j.Gaps) == 0 {
		t.Errorf("verdict %s, %+v, %+v", j.Verdict, j.Findings, j.Gaps)
	}
}

// TestMusts: a first boot of which a required check is not met is not to be learned.
func TestMusts(t *testing.T) {
	kinds := kindsOf(t)
	for text, want := range map[string]bool{"contract.check|a state=fail severity=required why=x": true, "contract.check|a state=fail severity=wanted": false, "contract.check|a state=pass severity=required": false, "service.unit|a state=failed": false} {
		if _, fail := compare.Musts(snap(t, kinds, text), kinds, compare.Policy{}); fail != want {
			t.Errorf("%s: fails %v, want %v", text, fail, want)
		}
	}
}

// TestFloatingAddressIsTold: as what it may be, and not as one that was leased.
func TestFloatingAddressIsTold(t *testing.T) {
	kinds := kindsOf(t)
	j := compare.Judge(snap(t, kinds, "net.address|192.0.2.9 lasting=yes floating=yes interface=eth0"), snap(t, kinds, ""), kinds, compare.Policy{})
	if len(j.Findings) != 1 || !strings.Contains(j.Findings[0].Message, "beside another one") || !strings.Contains(j.Findings[0].Hint, "keepalived") {
		t.Errorf("%+v", j.Findings)
	}
}
