package hw

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// towerWith is the tower with a table of file systems, as its block sources see it.
func towerWith(t *testing.T, change func(f *sysfstest.FS)) *snapshot.Snapshot {
	t.Helper()
	f := tower(t)
	f.Files["/etc/fstab"] = "UUID=11111111-2222-4333-8444-555555555503 / ext4 defaults 0 1\n"
	f.Files["/etc/crypttab"] = "secret UUID=11111111-2222-4333-8444-555555555505 none luks,nofail\n"
	f.Files["/proc/cmdline"] = "root=/dev/mapper/vg-root\n"
	change(f)
	snap := &snapshot.Snapshot{}
	for _, name := range []string{"disk", "block", "consumers"} {
		for _, src := range Sources() {
			if src.Name != name {
				continue
			}
			subjects, err := src.Read(t.Context(), source.Host{Root: sysfs.WithPatience(f, time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			s := snapshot.Subject{Kind: snapshot.SourceKind, ID: name, Outcome: snapshot.Measured}
			var kinds []string
			for _, k := range src.Kinds {
				kinds = append(kinds, k.Name)
			}
			s.Set(snapshot.SourceKinds, snapshot.List(kinds...))
			snap.Subjects = append(append(snap.Subjects, subjects...), s)
		}
	}
	if err := snap.Sort(); err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestTags(t *testing.T) {
	blank := strings.Repeat("\x00", 1<<20)
	cases := map[string]struct {
		change func(f *sysfstest.FS)
		want   []string
	}{
		"nothing": {func(*sysfstest.FS) {}, nil},
		"the root was wiped": {func(f *sysfstest.FS) { f.Files["/dev/dm-0"] = blank; f.Files["/dev/disk/by-uuid/x"] = "" }, []string{
			"critical tag-means-nothing fstab:UUID=11111111-2222-4333-8444-555555555503:/", "warning dm-content-lost uuid:LVM-" + strings.Repeat("G", 32) + strings.Repeat("R", 32),
		}},
		"an encrypted volume that may be missing": {func(f *sysfstest.FS) { f.Files["/dev/sdb3"] = blank; f.Files["/dev/disk/by-uuid/x"] = "" }, []string{
			"warning partition-content-lost partuuid:bbbbbbbb-2222-4333-8444-555555555507",
			"warning tag-means-nothing crypttab:UUID=11111111-2222-4333-8444-555555555505:encrypted_volume_secret",
		}},
		"udev knows it": {func(f *sysfstest.FS) {
			f.Files["/dev/dm-0"] = blank
			f.Links["/dev/disk/by-uuid/11111111-2222-4333-8444-555555555503"] = "../../dm-0"
		}, []string{"warning dm-content-lost uuid:LVM-" + strings.Repeat("G", 32) + strings.Repeat("R", 32)}},
		"a snapshot bears it too": {func(f *sysfstest.FS) { f.Files["/dev/dm-3"] = f.Files["/dev/dm-0"] }, nil},
		"a copy of it is there": {func(f *sysfstest.FS) { f.Files["/dev/sdb3"], f.Files["/dev/disk/by-uuid/x"] = f.Files["/dev/dm-0"], "" }, []string{
			"critical tag-ambiguous fstab:UUID=11111111-2222-4333-8444-555555555503:/",
			"warning tag-means-nothing crypttab:UUID=11111111-2222-4333-8444-555555555505:encrypted_volume_secret",
			"info partition-uuid-changed partuuid:bbbbbbbb-2222-4333-8444-555555555507",
		}},
		"a table is gone": {func(f *sysfstest.FS) {
			f.Files["/dev/sdb"], f.Files["/dev/disk/by-uuid/x"] = blank, ""
			f.Removed = append(f.Removed, "/sys/class/block/sdb3", "/sys/class/block/dm-4")
		}, []string{"critical disk-table-lost wwid:naa.50014ee2b5a8f3c1 + uuid:CRYPT-LUKS2-11111111222243338444555555555505-secret + partuuid:bbbbbbbb-2222-4333-8444-555555555507 + crypttab:UUID=11111111-2222-4333-8444-555555555505:encrypted_volume_secret"}},
	}
	kinds, err := source.Kinds(Sources())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := compare.Judge(towerWith(t, func(*sysfstest.FS) {}), towerWith(t, c.change), kinds, compare.Policy{})
			var got []string
			for _, f := range j.Findings {
				line := fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject.ID)
				for _, b := range f.Behind {
					line += " + " + b.ID
				}
				got = append(got, line)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s\ngaps %v", d, j.Gaps)
			}
		})
	}
}
