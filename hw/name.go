package hw

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/jaypipes/ghw"

	"lastgood/internal/snapshot"
)

// Name gives PCI functions the names of their makers and models as labels, where
// this host has the list of PCI ids (package hwdata or pciutils, or the file that
// PCIDB_PATH names). It is for people who read an inventory: the list takes tens of
// megabytes to hold, so nothing that compares calls it. Without a list all stays as
// it is; nothing is fetched.
func Name(ctx context.Context, snap *snapshot.Snapshot) {
	if ctx.Err() != nil || !haveList() {
		return
	}
	info, err := ghw.PCI(ctx, ghw.WithDisableTools(), ghw.WithDisableTopology(), ghw.WithDisableWarnings())
	if err != nil {
		return
	}
	for i := range snap.Subjects {
		s := &snap.Subjects[i]
		if s.Kind != pciKind {
			continue
		}
		dev := info.ParseDevice(s.Text("address"), modalias(s))
		if dev == nil || dev.Vendor == nil || dev.Product == nil || dev.Product.Name == "unknown" {
			continue
		}
		s.Label = fmt.Sprintf("%s %s (%s)", dev.Vendor.Name, dev.Product.Name, s.Text("address"))
	}
}

// haveList reports whether ghw will find a list of ids on this host. It must not be
// called where there is none: it would then look for one on the network.
func haveList() bool {
	paths := []string{"/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids.gz", "/usr/share/misc/pci.ids.gz"}
	if p := os.Getenv("PCIDB_PATH"); p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// modalias is how the kernel writes a function's ids in one word
// (pci_uevent of drivers/pci/pci-driver.c).
func modalias(s *snapshot.Subject) string {
	vendor, product, _ := strings.Cut(s.Text("ids"), ":")
	subVendor, subProduct, _ := strings.Cut(s.Text("subsystem_ids"), ":")
	class := hexDigits(s.Text("class_code"), 6)
	return "pci:v" + hexDigits(vendor, 8) + "d" + hexDigits(product, 8) + "sv" + hexDigits(subVendor, 8) + "sd" + hexDigits(subProduct, 8) +
		"bc" + class[:2] + "sc" + class[2:4] + "i" + class[4:]
}

// hexDigits makes a number exactly n digits wide.
func hexDigits(s string, n int) string {
	s = strings.Repeat("0", n) + strings.ToUpper(s)
	return s[len(s)-n:]
}
