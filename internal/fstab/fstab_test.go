package fstab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got := Parse("# /etc/fstab\n\nUUID=a / ext4 rw,noatime 0 1\n#/dev/sdb1 /old ext4 defaults 0 2\n/dev/sdc1 /a\\040b xfs\nshort line\n")
	want := []Line{
		{Spec: "UUID=a", Point: "/", Type: "ext4", Options: []string{"rw", "noatime"}, Number: 3},
		{Spec: "/dev/sdb1", Point: "/old", Type: "ext4", Options: []string{"defaults"}, Number: 4, Commented: true},
		{Spec: "/dev/sdc1", Point: "/a b", Type: "xfs", Number: 5},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
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
			last = l.Number
		}
	})
}
