package hw

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

const ata = "/sys/devices/pci0000:00/0000:00:1f.2/"

// tower is a host with two disks, a mirror over a partition of each, a volume group
// on the mirror with a volume and a snapshot of it, and an encrypted partition.
func tower(t testing.TB) *sysfstest.FS {
	f := &sysfstest.FS{Files: map[string]string{}, Links: map[string]string{}}
	block := func(name, dir, number string, sectors int) {
		f.Links["/sys/class/block/"+name] = "../.." + strings.TrimPrefix(dir, "/sys")
		f.Files[dir+"/dev"], f.Files[dir+"/size"], f.Files[dir+"/ro"] = number+"\n", fmt.Sprintln(sectors), "0\n"
	}
	disk := func(n int) string {
		name := fmt.Sprintf("sd%c", 'a'+n)
		dir := fmt.Sprintf("%sata%d/host%d/target%d:0:0/%d:0:0:0/block/%s", ata, n+1, n, n, n, name)
		block(name, dir, fmt.Sprintf("8:%d", 16*n), 131072)
		f.Links["/sys/block/"+name] = ".." + strings.TrimPrefix(dir, "/sys")
		f.Files[dir+"/device/wwid"], f.Files[dir+"/removable"], f.Files[dir+"/queue/rotational"] = fmt.Sprintf("naa.50014ee2b5a8f3c%d\n", n), "0\n", "1\n"
		return dir
	}
	part := func(disk string, n int, number string) {
		name := fmt.Sprintf("%s%d", path.Base(disk), n)
		block(name, path.Join(disk, name), number, 16384)
		f.Files[path.Join(disk, name, "partition")] = fmt.Sprintln(n)
	}
	a, b := disk(0), disk(1)
	part(a, 1, "8:1")
	part(b, 1, "8:17")
	part(b, 3, "8:19")
	virtual := "/sys/devices/virtual/block/"
	md := virtual + "md127"
	block("md127", md, "9:127", 131072)
	for name, v := range map[string]string{"array_state": "active", "level": "raid1", "raid_disks": "2", "degraded": "0", "metadata_version": "1.2", "dev-sda1/state": "in_sync", "dev-sdb1/state": "in_sync"} {
		f.Files[md+"/md/"+name] = v + "\n"
	}
	f.Links[md+"/slaves/sda1"], f.Links[md+"/slaves/sdb1"] = path.Join(a, "sda1"), path.Join(b, "sdb1")
	volume := func(n int, name, uuid string, on ...string) {
		dir := fmt.Sprintf("%sdm-%d", virtual, n)
		block(path.Base(dir), dir, fmt.Sprintf("253:%d", n), 131072)
		f.Files[dir+"/dm/name"], f.Files[dir+"/dm/uuid"], f.Files[dir+"/dm/suspended"] = name+"\n", uuid+"\n", "0\n"
		for _, s := range on {
			f.Links[dir+"/slaves/"+s] = "../../x"
		}
	}
	group := "LVM-" + strings.Repeat("G", 32)
	volume(0, "vg-root", group+strings.Repeat("R", 32), "dm-1")
	volume(1, "vg-root-real", group+strings.Repeat("R", 32)+"-real", "md127")
	volume(2, "vg-root-cow", group+strings.Repeat("S", 32)+"-cow", "md127")
	volume(3, "vg-backup", group+strings.Repeat("S", 32), "dm-1", "dm-2")
	volume(4, "secret", "CRYPT-LUKS2-11111111222243338444555555555505-secret", "sdb3")
	f.Links["/sys/class/block/loop0p1"] = "../../devices/virtual/block/loop0/loop0p1"
	f.Files[virtual+"loop0/loop0p1/partition"] = "1\n"
	for node, file := range map[string]string{"sdb": "gpt-67108864", "md127": "lvm-67108864", "dm-0": "ext4-67108864", "sdb3": "luks2-33554432", "sda": "dos-67108864"} {
		_, _, data := image(t, superblocks+"/"+file+".gz")
		f.Files["/dev/"+node] = string(data) + strings.Repeat("\x00", 1<<20-len(data)) // what lies behind is not there
	}
	for _, node := range []string{"sda1", "sdb1"} {
		f.Files["/dev/"+node] = string(append(make([]byte, 4096), member(4096)...)) + strings.Repeat("\x00", 64<<10)
	}
	return f
}

func blocks(t testing.TB, f sysfs.FS) (*snapshot.Snapshot, error) {
	t.Helper()
	h := source.Host{Root: sysfs.WithPatience(f, time.Hour)}
	subjects, err := readBlock(t.Context(), h)
	s := &snapshot.Snapshot{Subjects: subjects}
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	return s, err
}

// brief is a subject in a line: its ID, its parent and what it holds and lies on.
func briefly(s *snapshot.Snapshot) []string {
	var out []string
	for i := range s.Subjects {
		x := &s.Subjects[i]
		out = append(out, strings.Join([]string{x.Key().String(), "parent", x.Parent, "on", x.Attrs["on"].String(), "holds", x.Text("holds"), x.Text("type"), x.Text("fs_uuid")}, " "))
	}
	return out
}

func TestStack(t *testing.T) {
	s, err := blocks(t, tower(t))
	if err != nil {
		t.Fatal(err)
	}
	root, backup := "hw.dm/uuid:LVM-"+strings.Repeat("G", 32)+strings.Repeat("R", 32), "hw.dm/uuid:LVM-"+strings.Repeat("G", 32)+strings.Repeat("S", 32)
	const (
		array = "abababab-abab-abab-abab-abababababab"
		parts = "hw.partition/partuuid:"
		gpt3  = "bbbbbbbb-2222-4333-8444-555555555507"
		gpt1  = "aaaaaaaa-2222-4333-8444-555555555507"
	)
	want := []string{
		"hw.dm/uuid:CRYPT-LUKS2-11111111222243338444555555555505-secret parent " + parts + gpt3 + " on " + parts + gpt3 + " holds  ",
		root + " parent hw.md/md:" + array + " on hw.md/md:" + array + " holds filesystem ext4 11111111-2222-4333-8444-555555555503",
		backup + " parent hw.md/md:" + array + " on hw.md/md:" + array + " holds  ",
		"hw.md/md:" + array + " parent  on " + parts + "12345678-01, " + parts + gpt1 + " holds lvm LVM2 ABCdef-0123-4567-89ab-cdef-GHIJ-KLMNOP",
		parts + "12345678-01 parent hw.disk/wwid:naa.50014ee2b5a8f3c0 on - holds raid md " + array,
		parts + gpt1 + " parent hw.disk/wwid:naa.50014ee2b5a8f3c1 on - holds raid md " + array,
		parts + gpt3 + " parent hw.disk/wwid:naa.50014ee2b5a8f3c1 on - holds encrypted crypto_LUKS 11111111-2222-4333-8444-555555555505",
	}
	got := briefly(s)
	for i := range got {
		got[i] = strings.TrimRight(got[i], " ")
	}
	for i := range want {
		want[i] = strings.TrimRight(want[i], " ")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i := range s.Subjects {
		if x := &s.Subjects[i]; x.Kind == dmKind && (x.Text("snapshot") == "yes") != (x.Text("name") == "vg-backup") {
			t.Errorf("%s: snapshot %s", x.ID, x.Text("snapshot"))
		}
		if x := &s.Subjects[i]; x.Text("removable") != "no" {
			t.Errorf("%s: removable %q", x.ID, x.Text("removable"))
		}
	}
}

// Disks that sleep, and what lies on them, are not read; nothing else is lost.
func TestNothingIsWoken(t *testing.T) {
	f := tower(t)
	f.Files[ata+"ata1/host0/target0:0:0/0:0:0:0/block/sda/device/power/runtime_status"] = "suspended\n"
	f.Files["/run/udev/data/b8:1"] = "E:ID_FS_TYPE=linux_raid_member\nE:ID_FS_USAGE=raid\nE:ID_FS_UUID=" + strings.Repeat("ab", 16) + "\nE:ID_PART_ENTRY_NUMBER=1\nE:ID_PART_ENTRY_UUID=12345678-01\n"
	s, err := blocks(t, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Asked() {
		if slices.Contains([]string{"/dev/sda", "/dev/sda1", "/dev/md127", "/dev/dm-0", "/dev/dm-1"}, p) {
			t.Errorf("%s was read, and its disk sleeps", p)
		}
	}
	member := s.Subject(snapshot.Key{Kind: partitionKind, ID: "partuuid:12345678-01"})
	if member == nil || member.Text("holds") != "raid" {
		t.Errorf("udev's word of the member that sleeps: %+v", member)
	}
	if md := s.Subject(snapshot.Key{Kind: mdKind, ID: "md:abababab-abab-abab-abab-abababababab"}); md == nil || !strings.Contains(md.Errs["holds"], "sleeps") {
		t.Errorf("the array: %+v", md)
	}
	f = tower(t)
	f.Files["/sys/devices/virtual/block/dm-0/dm/suspended"] = "1\n"
	if _, err := blocks(t, f); err != nil || slices.Contains(f.Asked(), "/dev/dm-0") {
		t.Errorf("a suspended volume was read: %v", err)
	}
}

// One bad attribute costs its own subject only, and no error is an absence.
func TestStackFaults(t *testing.T) {
	cases := []struct {
		path   string
		err    error
		gone   int  // subjects less
		source bool // whether the source has to say that it could not tell
	}{
		{"/dev/sdb1", unix.EIO, 0, false},
		{"/dev/sdb", unix.EIO, 0, false},
		{"/sys/class/block", unix.EIO, 7, true},
		{"/sys/class/block/sda1", unix.EIO, 1, true},
		{"/sys/devices/virtual/block/md127/md/degraded", unix.EIO, 0, false},
		{"/sys/devices/virtual/block/md127/md/array_state", unix.EIO, 0, false},
		{"/sys/devices/virtual/block/dm-4/dm/uuid", unix.EIO, 0, true},
		{ata + "ata2/host1/target1:0:0/1:0:0:0/block/sdb/sdb1/partition", unix.EIO, 0, false},
	}
	whole, _ := blocks(t, tower(t))
	for _, c := range cases {
		f := tower(t)
		f.Errs = map[string]error{c.path: c.err}
		s, err := blocks(t, f)
		if (err != nil) != c.source || len(s.Subjects) != len(whole.Subjects)-c.gone {
			t.Errorf("%s: %d subjects of %d, %v", c.path, len(s.Subjects), len(whole.Subjects), err)
		}
	}
	old, broken := tower(t), tower(t)
	broken.Files["/sys/devices/virtual/block/md127/md/degraded"] = "1\n"
	broken.Files["/sys/devices/virtual/block/md127/md/dev-sdb1/state"] = "faulty\n"
	a, _ := blocks(t, old)
	b, _ := blocks(t, broken)
	for _, s := range []*snapshot.Snapshot{a, b} {
		md := s.Subject(snapshot.Key{Kind: mdKind, ID: "md:abababab-abab-abab-abab-abababababab"})
		want := int64(0)
		if s == b {
			want = 1
		}
		if n, _ := md.Attrs["degraded"].Int(); n != want || !md.Attrs["failed"].Equal(snapshot.Int(want)) {
			t.Errorf("degraded %d, failed %v; want %d", n, md.Attrs["failed"], want)
		}
	}
}

// manyDisks packs a host of n NVMe and SCSI disks with a partition each.
func manyDisks(b testing.TB, n int) *sysfs.Root {
	b.Helper()
	entries := map[string]string{"/console.log": "[    0.000000] Linux version 6.12\n"}
	links := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("sd%d", i) // a name of a driver of its own
		name = strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j").Replace(name)
		dir := fmt.Sprintf("/sys/devices/pci0000:00/0000:00:1f.2/0000:01:00.0/host0/port-0:0/expander-0:0/port-0:0:%d/end_device-0:0:%d/target0:0:%d/0:0:%d:0/block/%s", i, i, i, i, name)
		for f, v := range map[string]string{
			"dev": fmt.Sprintf("8:%d", 16*i), "size": "131072", "ro": "0", "removable": "0", "queue/rotational": "1", "queue/logical_block_size": "512",
			name + "1/partition": "1", name + "1/dev": fmt.Sprintf("8:%d", 16*i+1), name + "1/size": "1024", name + "1/start": "2048", name + "1/ro": "0",
		} {
			entries[dir+"/"+f] = v + "\n"
		}
		device := path.Dir(path.Dir(dir))
		links[dir+"/device"] = "../.."
		for f, v := range map[string]string{"wwid": fmt.Sprintf("naa.5000c500%08d", i), "model": "ST4000NM0023", "vendor": "SEAGATE", "rev": "0004"} {
			entries[device+"/"+f] = v + "\n"
		}
		links["/sys/block/"+name] = dir
		links["/sys/class/block/"+name], links["/sys/class/block/"+name+"1"] = dir, dir+"/"+name+"1"
		links[device+"/driver"] = "/sys/bus/scsi/drivers/sd"
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range slices.Sorted(maps.Keys(entries)) {
		err1 := w.WriteHeader(&tar.Header{Name: "." + p, Mode: 0o644, Size: int64(len(entries[p])), Typeflag: tar.TypeReg})
		_, err2 := w.Write([]byte(entries[p]))
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(links)) {
		if err := w.WriteHeader(&tar.Header{Name: "." + p, Linkname: links[p], Typeflag: tar.TypeSymlink}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "host.tar")
	if err := os.WriteFile(file, buf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	tree, err := sysfs.OpenTreeFS(file)
	if err != nil {
		b.Fatal(err)
	}
	return sysfs.WithPatience(tree, time.Hour) // on a busy machine an answer may take long
}

// The mark is one second for a host with 500 disks, all sources together.
func BenchmarkManyDisks(b *testing.B) {
	for _, n := range []int{40, 500} {
		h := source.Host{Root: manyDisks(b, n)}
		b.Run(fmt.Sprintf("disks=%d", n), func(b *testing.B) {
			for b.Loop() {
				total := 0
				for _, src := range Sources() {
					subjects, err := src.Read(b.Context(), h)
					if err != nil && !errors.Is(err, source.ErrSkipped) { // what asks the machine itself
						b.Fatal(src.Name, err)
					}
					total += len(subjects)
				}
				if total < 2*n {
					b.Fatalf("%d subjects", total)
				}
			}
		})
	}
}
