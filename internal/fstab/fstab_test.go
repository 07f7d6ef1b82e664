package fstab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got := Parse("# /etc/fstab\n\nUUID=a / ext4 rw,noatime 0 1\n#/dev/sdb1 /old ext4 defaults 0 2\n/dev/sdc1 /a\\040b xfs\nshort line\n" +
		"# #UUID=s none swap sw 0 0\n#/swapfile none swap sw 0 0\n# swap was on /dev/sda5 during installation\n# the old / ext4 line\n")
	want := []Line{
		{Spec: "UUID=a", Point: "/", Type: "ext4", Options: []string{"rw", "noatime"}, Number: 3},
		{Spec: "/dev/sdb1", Point: "/old", Type: "ext4", Options: []string{"defaults"}, Number: 4, Commented: true},
		{Spec: "/dev/sdc1", Point: "/a b", Type: "xfs", Number: 5},
		{Spec: "UUID=s", Point: "none", Type: "swap", Options: []string{"sw"}, Number: 7, Commented: true},
		{Spec: "/swapfile", Point: "none", Type: "swap", Options: []string{"sw"}, Number: 8, Commented: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

func TestAuto(t *testing.T) {
	got := Parse("# UUID= is better than /dev/sda here\n/dev/sdb1 /backup ext4 noauto,ro 0 0\nUUID=5-6 none swap sw 0 0\n" +
		"srv:/home /home nfs4 _netdev,x-systemd.automount 0 0\n")
	if len(got) != 3 || got[2].Auto() || got[0].Auto() || got[0].Swap() || !got[1].Auto() || !got[1].Swap() {
		t.Errorf("lines %+v", got)
	}
}

func TestDevice(t *testing.T) {
	for _, c := range []struct {
		spec, device string
		enumerated   bool
	}{
		{"UUID=1-2", "/dev/disk/by-uuid/1-2", false},
		{`LABEL="my disk"`, `/dev/disk/by-label/my\x20disk`, false},
		{"PARTLABEL=größe", "/dev/disk/by-partlabel/größe", false},
		{"/dev/mapper/vg-root", "/dev/mapper/vg-root", false},
		{"/dev/nvme0n1p2", "/dev/nvme0n1p2", true},
		{"server:/export", "", false},
		{"tmpfs", "", false},
	} {
		l := Line{Spec: c.spec}
		if got := l.Device(); got != c.device || l.Enumerated() != c.enumerated {
			t.Errorf("%s is %q, enumerated %v; want %q, %v", c.spec, got, l.Enumerated(), c.device, c.enumerated)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("UUID=a / ext4 rw 0 1\n#/dev/sdb1 /old\\040 ext4 defaults 0 2\n")
	f.Fuzz(func(t *testing.T, s string) {
		last := 0
		for _, l := range Parse(s) {
			if l.Spec == "" || l.Type == "" || l.Number <= last {
				t.Errorf("line %+v after line %d", l, last)
			}
			if d := l.Device(); d != "" && d[0] != '/' {
				t.Errorf("device %q of %+v", d, l)
			}
			last = l.Number
		}
	})
}
