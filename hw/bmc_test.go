package hw_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs/sysfstest"
)

const (
	bmcFolder    = "/sys/devices/platform/ipmi_bmc.0"
	bmcInterface = "/sys/devices/pci0000:00/0000:00:1f.0/IPI0001:00"
)

// ofBMC keeps the findings on the management controller: the recordings without one
// are of smaller machines.
func ofBMC(findings []snapshot.Finding) []string {
	out := []string{}
	for _, line := range brief(findings) {
		if strings.HasSuffix(line, " bmc") {
			out = append(out, line)
		}
	}
	return out
}

func TestBMCDrift(t *testing.T) {
	cases := []struct {
		name, old, new string
		faults         *sysfstest.FS
		want           []string
	}{
		{"another kernel", "full61", "full612", nil, nil},
		{"no driver is bound", "full61", "bmc-ghost", nil, []string{"critical bmc-driver-lost bmc"}},
		{"none at all", "full61", "bmc-none", nil, []string{"critical bmc-missing bmc"}},
		{"none, and only the firmware spoke of one before", "bmc-ghost", "bmc-none", nil, nil},
		{"found by another path", "full61", "bmc-notry", nil, []string{"info bmc-path-changed bmc"}},
		{"its firmware is another", "full61", "full61", &sysfstest.FS{Files: map[string]string{bmcFolder + "/firmware_revision": "2.75\n"}}, []string{"info bmc-firmware-changed bmc"}},
		{"its interface gets stuck", "full61", "full61", &sysfstest.FS{Files: map[string]string{bmcInterface + "/hosed_count": "3\n"}}, []string{"warning bmc-interface-stuck bmc"}},
		{"it got stuck once", "full61", "full61", &sysfstest.FS{Files: map[string]string{bmcInterface + "/hosed_count": "1\n"}}, nil},
		{"what the firmware says cannot be read", "full61", "full61", &sysfstest.FS{Errs: map[string]error{"/sys/firmware/dmi/entries/38-0/raw": unix.EACCES}}, nil},
		{"nor whether a driver is bound", "bmc-ghost", "bmc-ghost", &sysfstest.FS{Errs: map[string]error{"/sys/firmware/dmi/entries/38-0/raw": unix.EACCES}}, nil},
		{"the drivers cannot be listed", "full61", "full61", &sysfstest.FS{Errs: map[string]error{"/sys/bus/platform/drivers/ipmi": unix.EIO}}, nil},
		{"what the firmware says is nonsense", "full61", "full61", &sysfstest.FS{Files: map[string]string{"/sys/firmware/dmi/entries/38-0/raw": "\x26\xff"}}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.faults == nil {
				c.faults = &sysfstest.FS{}
			}
			old := take(t.Context(), t, open(t, c.old, &sysfstest.FS{}))
			new := take(t.Context(), t, open(t, c.new, c.faults))
			if d := cmp.Diff(append([]string{}, c.want...), ofBMC(judge(t, old, new).Findings)); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
		})
	}
}

func TestRAIDDrift(t *testing.T) {
	const (
		pci  = "/sys/devices/pci0000:00/0000:00:03.0/0000:02:00.0"
		host = pci + "/host6/scsi_host/host6"
		id   = "pci0000:00/03.0/00.0"
	)
	cases := []struct {
		name   string
		faults *sysfstest.FS
		want   []string
	}{
		{"nothing", &sysfstest.FS{}, nil},
		{"its state cannot be read", &sysfstest.FS{Errs: map[string]error{host + "/state": unix.EIO}}, nil},
		{"its driver cannot be told", &sysfstest.FS{Errs: map[string]error{pci + "/driver": unix.EIO}}, nil},
		{"hosts cannot be listed", &sysfstest.FS{Errs: map[string]error{"/sys/class/scsi_host": unix.EIO}}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			old := take(t.Context(), t, open(t, "full61", &sysfstest.FS{}))
			new := take(t.Context(), t, open(t, "full61", c.faults))
			var got []string
			for _, line := range brief(judge(t, old, new).Findings) {
				if strings.Contains(line, " raid-") {
					got = append(got, line)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
		})
	}
}
