package contract

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/sysfs/sysfstest"
)

// TestMountedOnDemand: what an automount mounts when somebody looks is not missed when nobody has; what an enabled mount unit mounts
// at every boot is.
func TestMountedOnDemand(t *testing.T) {
	automounts := "10 1 0:50 / /home rw - autofs systemd-1 rw\n11 1 0:51 / /boot/efi rw - autofs systemd-1 rw\n"
	rest := "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n14 1 0:54 / /srv/my-data rw - nfs4 server:/data rw\n15 1 0:55 / /mnt/hand rw - nfs4 server:/x rw\n"
	looked := "12 10 0:52 / /home rw - nfs4 server:/home rw\n13 11 8:2 / /boot/efi rw - vfat /dev/sda2 rw\n"
	for name, table := range map[string]string{"looked at": automounts + rest + looked, "not looked at": automounts + rest} {
		fs := &sysfstest.FS{Files: map[string]string{
			"/proc/1/mountinfo": table, "/etc/fstab": "/dev/sda1 / ext4 defaults 0 1\nserver:/home /home nfs4 _netdev,x-systemd.automount 0 0\n",
			`/etc/systemd/system/multi-user.target.wants/srv-my\x2ddata.mount`: "[Mount]\n", "/sys/class/block/sda1/dev": "8:1",
		}}
		subjects, err := readMounts(t.Context(), host(fs))
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, s := range subjects {
			if s.Kind == mountKind {
				have[s.ID] = s.Text("by")
			}
		}
		want := map[string]string{"/": "fstab", "/srv/my-data": "unit", "/mnt/hand": "hand"}
		if name == "looked at" {
			want["/home"], want["/boot/efi"] = "demand", "demand"
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		d := &draft{used: map[string]int{}}
		d.storage(t.Context(), host(fs))
		var learned []string
		for _, c := range d.checks {
			if c.kind == "mount" {
				learned = append(learned, c.id)
			}
		}
		if d := cmp.Diff([]string{"mount", "mount--srv-my-data"}, learned); d != "" {
			t.Errorf("%s, learned: %s", name, d)
		}
	}
}

func TestUnitPath(t *testing.T) {
	for name, want := range map[string]string{"-": "/", "srv": "/srv", `srv-my\x2ddata-x`: "/srv/my-data/x", `a\x2`: `/a\x2`, `a\xzz`: `/a\xzz`} {
		if have := unitPath(name); have != want {
			t.Errorf("%s is %s, want %s", name, have, want)
		}
	}
}
