package hw

import (
	"testing"
	"time"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

// The kernel makes up a UUID for an array without superblocks, another at each start.
func TestArrayWithoutSuperblocks(t *testing.T) {
	for metadata, want := range map[string]string{"none": "at:md127", "external:imsm": "at:md127", "1.2": "md:14870d79-57cb-e9b6-1227-65869e9feca7"} {
		f := tower(t)
		const md = "/sys/devices/virtual/block/md127/md/"
		f.Files[md+"metadata_version"], f.Files[md+"uuid"] = metadata+"\n", "14870d79-57cb-e9b6-1227-65869e9feca7\n"
		s, err := blocks(t, f)
		if err != nil {
			t.Fatal(err)
		}
		if s.Subject(snapshot.Key{Kind: mdKind, ID: want}) == nil {
			t.Errorf("metadata %s: there is no %s in %q", metadata, want, briefly(s))
		}
	}
}

// What the kernel says of an array hangs on the array, by who it is.
func TestMessageOfArray(t *testing.T) {
	f := tower(t)
	f.Files["/console.log"] = "[    9.000000] md/raid1:md127: Disk failure on sdb1, disabling device.\n"
	s, err := blocks(t, f)
	if err != nil {
		t.Fatal(err)
	}
	var array string
	for i := range s.Subjects {
		if s.Subjects[i].Kind == mdKind {
			array = s.Subjects[i].ID
		}
	}
	said, err := readMessages(t.Context(), source.Host{Root: sysfs.WithPatience(f, time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range said {
		if m := &said[i]; m.Kind == messageKind && m.ID == "md-degraded@"+array && m.Parent == mdKind+"/"+array {
			return
		}
	}
	t.Errorf("no message of array %q in %v", array, said)
}
