package hw_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// shapes is a host of what the recorded ones do not have: NVMe multipath, a disk
// without a device, an optical drive, an SR-IOV function, a port with a number.
func shapes() *sysfstest.FS {
	const (
		pci    = "/sys/devices/pci0000:00/0000:00:01.0"
		subsys = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
	)
	return &sysfstest.FS{
		Links: map[string]string{
			"/sys/block/nvme0n1":                              "../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
			"/sys/block/nvme0c0n1":                            "../devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0c0n1",
			"/sys/block/loop0":                                "../devices/virtual/block/loop0",
			"/sys/block/sr0":                                  "../devices/pci0000:00/0000:00:1f.2/block/sr0",
			subsys + "/nvme0":                                 "../../../pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0",
			subsys + "/nvme0n1/device":                        "../../nvme-subsys0",
			pci + "/0000:01:00.0/driver":                      "../../../../bus/pci/drivers/nvme",
			pci + "/0000:01:00.0/nvme/nvme0/nvme0c0n1/device": "../../nvme0",
			"/sys/class/net/ens1f0v0":                         "../../devices/pci0000:00/0000:00:02.0/0000:02:10.0/net/ens1f0v0",
			"/sys/class/net/ens1f1":                           "../../devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1",
			"/sys/class/net/br0":                              "../../devices/virtual/net/br0",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:10.0/net/ens1f0v0/device": "../..",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:10.0/physfn":              "../0000:02:00.0",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1/device":   "../..",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/driver":              "../../../../bus/pci/drivers/mlx4_core",
		},
		Files: map[string]string{
			subsys + "/serial":                                    "S4EVNF0M123456  \n",
			subsys + "/model":                                     "Samsung SSD 970   \n",
			subsys + "/nvme0n1/size":                              "2048\n",
			subsys + "/nvme0n1/hidden":                            "0\n",
			subsys + "/nvme0n1/ro":                                "2\n",
			pci + "/0000:01:00.0/vendor":                          "0x144d\n",
			pci + "/0000:01:00.0/nvme/nvme0/nvme0c0n1/hidden":     "1\n",
			"/sys/devices/virtual/block/loop0/size":               "0\n",
			"/sys/devices/pci0000:00/0000:00:1f.2/block/sr0/size": "0\n",
			"/sys/devices/virtual/net/br0/address":                "00:1b:21:00:00:09\n",
			"/console.log":                                        "",
			"/sys/class/net/bonding_masters":                      "bond0\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:10.0/net/ens1f0v0/addr_assign_type": "1\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:10.0/net/ens1f0v0/address":          "4a:1b:21:00:00:02\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1/address":            "e4:1d:2d:00:00:01\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1/addr_assign_type":   "0\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1/dev_port":           "1\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1/operstate":          "up\n",
			"/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/net/ens1f1/speed":              "40000\n",
		},
	}
}

// Two disks that bear one WWID are known by where they sit, and the log says so.
func TestSharedWWID(t *testing.T) {
	const ata = "/sys/devices/pci0000:00/0000:00:1f.2/"
	a, b := ata+"ata1/host0/target0:0:0/0:0:0:0/block/sda", ata+"ata2/host1/target1:0:0/1:0:0:0/block/sdb"
	f := &sysfstest.FS{Files: map[string]string{"/console.log": ""}, Links: map[string]string{
		"/sys/block/sda": ".." + strings.TrimPrefix(a, "/sys"), "/sys/block/sdb": ".." + strings.TrimPrefix(b, "/sys"),
	}}
	for i, d := range []string{a, b} {
		f.Files[d+"/device/wwid"] = "naa.5000000000000001\n"
		f.Files[d+"/device/model"] = "BRIDGE\n"
		port := fmt.Sprintf("ata%d", i+1)
		f.Files[ata+port+"/ata_port/"+port+"/port_no"] = strconv.Itoa(i + 1)
	}
	var log strings.Builder
	host := hostOf(sysfs.New(f))
	host.Log = slog.New(slog.NewTextHandler(&log, nil))
	var ids []string
	for _, src := range hw.Sources() {
		subjects, err := src.Read(t.Context(), host)
		if errors.Is(err, source.ErrSkipped) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range subjects {
			if subjects[i].Kind == "kernel.log" {
				continue
			}
			ids = append(ids, subjects[i].ID)
			if aliases, _ := subjects[i].Attrs["aliases"].Items(); !slices.Contains(aliases, "wwid:naa.5000000000000001") {
				t.Errorf("%s: aliases %v are without the WWID", subjects[i].ID, aliases)
			}
		}
	}
	want := []string{"at:pci0000:00/1f.2/port1/0:0:0/BRIDGE", "at:pci0000:00/1f.2/port2/0:0:0/BRIDGE"}
	if d := cmp.Diff(want, ids); d != "" {
		t.Errorf("ids (-want +got):\n%s", d)
	}
	if n := strings.Count(log.String(), "two devices bear one identifier"); n != 2 {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}
}

func TestShapes(t *testing.T) {
	snap := take(t.Context(), t, sysfs.New(shapes()))
	got := []snapshot.Subject{}
	for _, s := range snap.Subjects {
		if s.Kind == snapshot.SourceKind {
			if s.Outcome != snapshot.Measured {
				t.Errorf("%s: %s", s.ID, s.Reason)
			}
			continue
		}
		if s.Kind != "kernel.log" {
			got = append(got, s)
		}
	}
	text, list := snapshot.Text[string], snapshot.List
	want := []snapshot.Subject{
		{Kind: "hw.disk", ID: "nvme:Samsung_SSD_970_S4EVNF0M123456/ns1", Label: "Samsung SSD 970 (nvme0n1)", Parent: "hw.pci/pci0000:00/01.0/00.0", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{
				"name": text("nvme0n1"), "model": text("Samsung SSD 970"), "serial": text("S4EVNF0M123456"), "size_bytes": snapshot.Int(2048 * 512), "driver": text("nvme"),
				"location": text("pci0000:00/01.0/00.0/ns1"), "aliases": list("at:pci0000:00/01.0/00.0/ns1/Samsung_SSD_970", "nvme:Samsung_SSD_970_S4EVNF0M123456/ns1"),
			}, Errs: map[string]string{"ro": `read ro: "2" is neither 0 nor 1`}},
		{Kind: "net.interface", ID: "at:pci0000:00/02.0/10.0", Label: "ens1f0v0", Parent: "hw.pci/pci0000:00/02.0/10.0", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{
				"name": text("ens1f0v0"), "mac": text("4a:1b:21:00:00:02"), "mac_from": text("random"), "driver": text("none"), "hotplug": text("yes"), "master": text("none"), "used": text("no"),
				"location": text("pci0000:00/02.0/10.0"), "aliases": list("at:pci0000:00/02.0/10.0"),
			}},
		{Kind: "net.interface", ID: "mac:e4:1d:2d:00:00:01", Label: "ens1f1", Parent: "hw.pci/pci0000:00/02.0/00.0", Outcome: snapshot.Measured,
			Attrs: snapshot.Attrs{
				"name": text("ens1f1"), "mac": text("e4:1d:2d:00:00:01"), "mac_from": text("permanent"), "driver": text("mlx4_core"), "hotplug": text("no"), "operstate": text("up"), "master": text("none"), "used": text("yes"),
				"speed_bits": snapshot.Int(int64(40e9)), "location": text("pci0000:00/02.0/00.0/port1"), "aliases": list("at:pci0000:00/02.0/00.0/port1", "mac:e4:1d:2d:00:00:01"),
			}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("subjects (-want +got):\n%s", d)
	}
}
