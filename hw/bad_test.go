package hw_test

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lastgood/hw"
	"lastgood/internal/snapshot"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

// attributes are the files that the readers ask for, by their last names.
func attributes(t *testing.T, host string) map[string][]string {
	t.Helper()
	f := &sysfstest.FS{}
	root := open(t, host, f)
	takeBus(t, root)
	out := map[string][]string{}
	for _, p := range f.Asked() {
		if _, err := root.Bytes(t.Context(), 1, p); err == nil && strings.HasPrefix(p, "/sys/devices/") {
			out[path.Base(p)] = append(out[path.Base(p)], p)
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d attributes were asked for", len(out))
	}
	return out
}

// Whatever one attribute answers on every device: nothing breaks, nothing is called
// gone for an error, and no value grows without bound.
func TestBadAttributes(t *testing.T) {
	t.Parallel() // beside the guests, which wait much
	const host = "full612"
	bad := map[string]func(f *sysfstest.FS, p string){
		"missing": func(f *sysfstest.FS, p string) { f.Removed = append(f.Removed, p) },
		"empty":   func(f *sysfstest.FS, p string) { f.Files[p] = "" },
		"binary":  func(f *sysfstest.FS, p string) { f.Files[p] = "\x00\xff\x1b[2J\n\x80\x01" },
		"1 MiB":   func(f *sysfstest.FS, p string) { f.Files[p] = strings.Repeat("A1\x1b", 1<<20/3) },
		"EIO":     func(f *sysfstest.FS, p string) { f.Errs[p] = unix.EIO },
		"EINVAL":  func(f *sysfstest.FS, p string) { f.Errs[p] = unix.EINVAL },
		"ENXIO":   func(f *sysfstest.FS, p string) { f.Errs[p] = unix.ENXIO },
	}
	old := takeBus(t, open(t, host, &sysfstest.FS{}))
	for name, files := range attributes(t, host) {
		for fault, lay := range bad {
			f := &sysfstest.FS{Files: map[string]string{}, Errs: map[string]error{}}
			for _, p := range files {
				lay(f, p)
			}
			new := takeBus(t, open(t, host, f))
			bounded(t, name+" "+fault, new)
			if !strings.HasPrefix(fault, "E") {
				continue
			}
			for _, finding := range judge(t, old, new).Findings {
				if strings.Contains(finding.Code, "missing") || strings.Contains(finding.Code, "lost") {
					t.Errorf("%s %s: %v", name, fault, brief([]snapshot.Finding{finding}))
				}
			}
		}
	}
}

// takeBus reads the sources of buses and controllers, and the kernel's log.
func takeBus(t *testing.T, r *sysfs.Root) *snapshot.Snapshot {
	t.Helper()
	snap := &snapshot.Snapshot{Identity: snapshot.Identity{MachineID: "m"}}
	for _, src := range hw.Sources() {
		if !slices.Contains([]string{"usb", "usb_port", "pci", "xhci", "scsi_host", "kernel_log"}, src.Name) {
			continue
		}
		subjects, err := src.Read(t.Context(), hostOf(r))
		s := snapshot.Subject{Kind: snapshot.SourceKind, ID: src.Name, Outcome: snapshot.Measured}
		var kinds []string
		for _, k := range src.Kinds {
			kinds = append(kinds, k.Name)
		}
		s.Set(snapshot.SourceKinds, snapshot.List(kinds...))
		if err != nil {
			s.Outcome, s.Reason = snapshot.Inconclusive, err.Error()
		}
		snap.Subjects = append(append(snap.Subjects, subjects...), s)
	}
	if err := snap.Sort(); err != nil {
		t.Fatal(err)
	}
	return snap
}

// bounded checks that a snapshot can be written, and is no larger than its host.
func bounded(t *testing.T, what string, snap *snapshot.Snapshot) {
	t.Helper()
	for i := range snap.Subjects {
		s := &snap.Subjects[i]
		b, err := json.Marshal(s)
		if err != nil || len(b) > 16<<10 {
			t.Errorf("%s: %s has %d bytes, %v", what, s.Kind, len(b), err)
		}
		if strings.ContainsAny(s.ID+s.Label, "\x00\x1b\n") {
			t.Errorf("%s: %s is called %q", what, s.Kind, s.ID+" "+s.Label)
		}
	}
}

// An attribute that hangs costs its own device and no other.
func TestHangingAttributes(t *testing.T) {
	const host = "dummy-ss1"
	under, err := sysfs.OpenTreeFS(hostsFolder + "/" + host + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	const usb = "/sys/devices/platform/dummy_hcd.0/usb2/2-1"
	for _, file := range []string{"idVendor", "speed", "product", "quirks", "authorized", "2-1:1.0/bInterfaceClass"} {
		f := &sysfstest.FS{Under: under, Hang: []string{usb + "/" + file}}
		t.Cleanup(f.Release)
		for _, src := range hw.Sources() {
			if src.Name != "usb" && src.Name != "usb_port" {
				continue
			}
			subjects, err := src.Read(t.Context(), hostOf(sysfs.WithPatience(f, 50*time.Millisecond)))
			if src.Name == "usb_port" && (err != nil || len(subjects) != 2) {
				t.Errorf("%s hangs: %d ports, %v", file, len(subjects), err)
			}
			if src.Name == "usb" && (len(subjects) != 1 || (err == nil && len(subjects[0].Errs) == 0)) {
				t.Errorf("%s hangs: %d USB devices, %v", file, len(subjects), err)
			}
		}
	}
}

// What a USB device calls itself is its own affair, and nothing that a terminal or a
// report would act on.
func TestHostileDescriptors(t *testing.T) {
	const usb = "/sys/devices/platform/dummy_hcd.0/usb2/2-1"
	snap := take(t.Context(), t, open(t, "dummy-ss1", &sysfstest.FS{Files: map[string]string{
		usb + "/product": "\x1b]0;owned\x07<script>\u202ealert(1)</script>\r\n| **x** |", usb + "/serial": "../../etc\x00\x1b[31m", usb + "/bcdDevice": strings.Repeat("9", 100_000),
	}}))
	i := slices.IndexFunc(snap.Subjects, func(s snapshot.Subject) bool { return s.Kind == "hw.usb" })
	s := &snap.Subjects[i]
	for _, text := range []string{s.Label, s.Text("product"), s.Text("serial"), s.Text("firmware")} {
		if strings.ContainsAny(text, "\x00\x07\x1b\n\r\u202e") || len(text) > 2000 {
			t.Errorf("%q was let through", text[:min(len(text), 200)])
		}
	}
	if s.Text("bridge") != "Realtek RTL9210" || s.Text("smart_tunnel") != "sntrealtek" || s.Text("transport") != "bot" || s.Text("generation") != "super" {
		t.Errorf("read as %v", s.Attrs)
	}
}
