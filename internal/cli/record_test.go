package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/hw"
	"lastgood/internal/compare"
	"lastgood/internal/snapshot"
)

// recordOf records a recorded host anew and gives the archive's path.
func recordOf(t *testing.T, root string, flags ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "host.tar.gz")
	said(t, 80, nil, append([]string{"record", name, "--root", root}, flags...)...)
	return name
}

func taking(t *testing.T, root string) *snapshot.Snapshot {
	t.Helper()
	snap, err := snapshot.Decode([]byte(said(t, 0, nil, "inventory", "--root", root, "-o", "json")))
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// A recording answers as the host does from which it was taken.
func TestRecordReplays(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"full61", "udev61", "dead-xhci-after", "hwmon61", "bmc-notry", "tz6.1"} {
		if d := cmp.Diff(said(t, 0, nil, "inventory", "--root", recordedHost(host), "-o", "json"),
			said(t, 0, nil, "inventory", "--root", recordOf(t, recordedHost(host), "--no-scrub"), "-o", "json")); d != "" {
			t.Errorf("%s (-host +recording):\n%s", host, d)
		}
	}
}

// identifiers are what a snapshot's devices are named by, that somebody set.
func identifiers(snap *snapshot.Snapshot) []string {
	var out []string
	for i := range snap.Subjects {
		for _, attr := range []string{"serial", "wwid", "mac", "fs_uuid", "partuuid", "uuid", "table_id", "guid", "sas_address"} {
			v := snap.Subjects[i].Text(attr)
			if hw.JunkSerial(v) || strings.Contains(v, "nvme.") && len(v) < 12 {
				continue
			}
			if _, number, found := strings.Cut(v, "."); found && attr == "wwid" && !strings.HasPrefix(v, "nvme.") {
				v = number
			}
			out = append(out, v)
		}
	}
	id := snap.Identity
	for _, v := range []string{id.BootID, id.MachineID, id.ProductUUID} {
		if v != "" {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unpacked is all that an archive holds: names, links, contents.
func unpacked(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(h.Name + "\n" + h.Linkname + "\n")
		if _, err := io.Copy(&out, r); err != nil {
			t.Fatal(err)
		}
	}
}

// No identifier is left anywhere in a scrubbed recording: not in a path or a link, not in
// capitals, not without separators, not as the codes of its letters.
func TestRecordHidesIdentifiers(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"full61", "udev61", "probe61", "ord-perc", "shiftB", "dead-xhci-before", "usb-quirk", "dummy-ss1", "bmc-notry"} {
		from := booted(t, host)
		have := unpacked(t, recordOf(t, from))
		text := strings.ToLower(string(have))
		ids := identifiers(taking(t, from))
		if len(ids) < 2 {
			t.Errorf("%s: only %q to look for", host, ids)
		}
		before := strings.ToLower(string(unpacked(t, from)))
		for _, id := range ids {
			low := strings.ToLower(id)
			plain := strings.NewReplacer(":", "", "-", "").Replace(low)
			forms := []string{low, strings.ReplaceAll(low, " ", "_"), hex.EncodeToString([]byte(id))}
			if len(plain) >= 10 {
				forms = append(forms, plain, strings.ReplaceAll(low, ":", "-"))
			}
			if !strings.Contains(before, low) && !strings.Contains(before, strings.ReplaceAll(plain, "-", "")) {
				t.Errorf("%s: %q is not in the recording that is not scrubbed: the test looks for the wrong thing", host, id)
			}
			for _, form := range forms {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("%s: %q is in it as %q: …%q…", host, id, form, text[max(0, at-40):min(len(text), at+40)])
				}
			}
			if raw, err := hex.DecodeString(plain); err == nil && len(raw) >= 6 && bytes.Contains(have, raw) {
				t.Errorf("%s: the bytes of %q are in it", host, id)
			}
		}
	}
}

// shape is a judgement without what names things.
func shape(t *testing.T, a, b *snapshot.Snapshot) []string {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	j := compare.Judge(a, b, all, compare.Policy{})
	out := []string{string(j.Verdict) + " " + j.Refused}
	for _, f := range j.Findings {
		line := strings.Join([]string{string(f.Severity), f.Code, f.Subject.Kind, f.Attr}, " ")
		for _, k := range f.Behind {
			line += " " + k.Kind
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// Two scrubbed recordings of one machine differ as the machine did, and in nothing else.
func TestScrubbedRecordingsCompare(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{"full61", "full612"}, {"usb-base", "usb-nouas"}, {"usb-base", "usb-hs"}, {"shiftA", "shiftB"}, {"dead-xhci-before", "dead-xhci-after"}, {"ord-perc", "full61"}} {
		a, b := booted(t, pair[0]), booted(t, pair[1])
		want := shape(t, taking(t, a), taking(t, b))
		got := shape(t, taking(t, recordOf(t, a)), taking(t, recordOf(t, b)))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s and %s (-as they are +scrubbed):\n%s", pair[0], pair[1], d)
		}
	}
}

// Of each subject all is the same but what names it.
func TestScrubbedRecordingsTellTheSame(t *testing.T) {
	t.Parallel()
	names := []string{"serial", "wwid", "mac", "fs_uuid", "partuuid", "uuid", "table_id", "aliases", "on", "first"}
	for _, host := range []string{"full61", "udev61", "tz6.1"} {
		from := booted(t, host)
		var sides [2][]string
		for i, root := range []string{from, recordOf(t, from)} {
			snap := taking(t, root)
			for _, s := range snap.Subjects {
				s.ID, s.Parent, s.Label = "", "", ""
				for _, n := range names {
					delete(s.Attrs, n)
				}
				if s.Kind == "net.interface" && strings.HasPrefix(s.Text("name"), "enx") {
					delete(s.Attrs, "name")
				}
				line, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				sides[i] = append(sides[i], string(line))
			}
			slices.Sort(sides[i])
		}
		if d := cmp.Diff(sides[0], sides[1]); d != "" {
			t.Errorf("%s (-as it is +scrubbed):\n%s", host, d)
		}
	}
}

// A file is there as a whole or not at all, and what is no file is left alone.
func TestRecordWrites(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "host.tar.gz")
	if err := os.WriteFile(name, []byte("older"), 0o644); err != nil {
		t.Fatal(err)
	}
	said(t, 80, nil, "record", name, "--root", recordedHost("bmc-none"))
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 || st.Size() < 1000 {
		t.Errorf("after record: %v, %v", st, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("beside it: %v, %v", left, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d.tar.gz"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(dir, "d.tar.gz"), nil); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("onto a folder: %v", err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(dir, "l.tar.gz")); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(dir, "l.tar.gz"), nil); err == nil {
		t.Error("onto a link: no error")
	}
	if err := writeWhole(filepath.Join(dir, "none", "x.tar.gz"), nil); err == nil {
		t.Error("into no folder: no error")
	}
}
