package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lastgood/internal/snapshot"
)

// TestEveryFlippedBitIsSeen flips a bit in each byte of a snapshot of the store.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	b, err := snap("aaa", "6.1", "boot", day).Encode()
	if err != nil {
		t.Fatal(err)
	}
	doc, sum, err := seal(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unseal(doc); err != nil || got != sum {
		t.Fatalf("untouched: %v", err)
	}
	// As the package comment says it, for whoever checks it with other tools.
	zeroed := bytes.Replace(doc, []byte(sum), bytes.Repeat([]byte("0"), sealDigits), 1)
	if want := fmt.Sprintf("%x", sha256.Sum256(zeroed)); sum != want {
		t.Errorf("the checksum is %s, want that of the file with zeros in its place, %s", sum, want)
	}
	for i := range doc {
		bad := bytes.Clone(doc)
		bad[i] ^= 1
		if _, err := unseal(bad); err == nil {
			t.Errorf("a flipped bit in byte %d of %d went unseen", i, len(doc))
		}
		if _, err := unseal(doc[:i]); err == nil {
			t.Errorf("a file cut off after %d bytes went unseen", i)
		}
	}
	if _, _, err := seal([]byte("{}\n")); err == nil {
		t.Error("a document without fields was sealed")
	}
}

func TestReadFile(t *testing.T) {
	plain, err := snap("aaa", "6.1", "boot", day).Encode()
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := seal(plain)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(sealed, &fields); err != nil {
		t.Fatal(err)
	}
	reformatted, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.Replace(sealed, []byte("6.1"), []byte("6.2"), 1)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		text []byte
		want string // in the error; "" where it is read
		hint string
	}{
		"plain":        {plain, "", ""},
		"sealed":       {sealed, "", ""},
		"edited plain": {bytes.Replace(plain, []byte("6.1"), []byte("6.2"), 1), "", ""},
		"edited":       {edited, "checksum does not match", "del(.checksum)"},
		"reformatted":  {reformatted, "edited or reformatted", "del(.checksum)"},
		"cut off":      {sealed[:len(sealed)/2], "unexpected end", ""},
		"other":        {[]byte(`{"schema":"lastgood.report/v1"}`), "not a lastgood snapshot", ""},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, test.text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(path)
		if test.want == "" {
			if err != nil || got.Identity.BootID != "aaa" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got error %v, want %q and the path", name, err, test.want)
		}
		var d *DamagedError
		if errors.As(err, &d) != (test.hint != "") || d != nil && !strings.Contains(d.Hint(), test.hint) {
			t.Errorf("%s: got %#v, want a hint with %q", name, err, test.hint)
		}
	}
	var fe *FileError
	if _, err := ReadFile(filepath.Join(dir, "absent")); !errors.As(err, &fe) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

// kept fails unless a file's bytes are in damaged/.
func kept(t *testing.T, c *crashFS, name string, b []byte) {
	t.Helper()
	for path, i := range c.seen {
		if strings.HasPrefix(path, filepath.Join(memDir, damagedDir, name)+".") && bytes.Equal(i.seen, b) {
			return
		}
	}
	t.Errorf("what was %s is not kept in %s", name, damagedDir)
}

func TestDamagedBootIsMovedAside(t *testing.T) {
	c := damagedFile("boots/abc.json")(t)
	was := bytes.Clone(c.seen[memDir+"/boots/abc.json"].seen)
	reader, err := Open(memDir, Options{files: c})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		entries, err := reader.List()
		if err != nil || len(entries) != 3 {
			t.Fatalf("reader's list: %v, %v", entries, err)
		}
	}
	if len(reader.Damaged()) != 1 || c.seen[memDir+"/boots/abc.json"] == nil {
		t.Errorf("a reader reports %v, and must leave the file", reader.Damaged())
	}
	var d *DamagedError
	if _, err := reader.Load("abc"); !errors.As(err, &d) || d.MovedTo != "" {
		t.Errorf("reader's load: %v", err)
	}

	s := memStore(t, c)
	if _, err := s.List(); err != nil {
		t.Fatal(err)
	}
	kept(t, c, "abc.json", was)
	if d := s.Damaged(); len(d) != 1 || !strings.Contains(d[0], "moved to") {
		t.Errorf("reported: %v", d)
	}
	if entries, err := s.List(); err != nil || len(entries) != 2 {
		t.Errorf("list afterwards: %v, %v", entries, err)
	}
	if _, _, err := s.LastGood(); err != nil {
		t.Errorf("last good beside a damaged boot: %v", err)
	}
}

func TestSwappedSnapshotIsDamage(t *testing.T) {
	c := lived(t)
	c.seen[memDir+"/boots/abc.json"] = c.seen[memDir+"/boots/bbb.json"]
	s := memStore(t, c)
	var d *DamagedError
	if _, err := s.Load("abc"); !errors.As(err, &d) || !strings.Contains(err.Error(), "bbb") {
		t.Errorf("a snapshot under another boot's name: %v", err)
	}
}

func TestSnapshotOfAnotherVersionIsNoDamage(t *testing.T) {
	c := lived(t)
	doc, _, err := seal([]byte("{\n \"schema\": \"lastgood.snapshot/v9\",\n \"subjects\": {}\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.seen[memDir+"/boots/new.json"] = &inode{doc, doc}
	s := memStore(t, c)
	var other *snapshot.SchemaError
	if _, err := s.Load("new"); !errors.As(err, &other) {
		t.Errorf("load: %v", err)
	}
	entries, err := s.List()
	if err != nil || len(entries) != 4 {
		t.Fatalf("list: %v, %v", entries, err)
	}
	for _, e := range entries {
		if e.BootID == "new" && !errors.As(e.Err, &other) {
			t.Errorf("list: %v", e.Err)
		}
	}
	if c.seen[memDir+"/boots/new.json"] == nil || len(s.Damaged()) > 0 {
		t.Errorf("it was taken for damaged: %v", s.Damaged())
	}
}

func TestLostBaselineIsNeverNone(t *testing.T) {
	accepted := func(c *crashFS) string {
		for name := range c.seen {
			if strings.Contains(name, ".accepted-") {
				return name
			}
		}
		t.Fatal("no accepted copy")
		return ""
	}
	for name, break_ := range map[string]func(*crashFS){
		"record damaged":   func(c *crashFS) { c.seen[memDir+"/last-good"].seen[20] ^= 1 },
		"record empty":     func(c *crashFS) { c.seen[memDir+"/last-good"].seen = nil },
		"record too large": func(c *crashFS) { c.seen[memDir+"/last-good"].seen = make([]byte, maxRecord+1) },
		"copy damaged":     func(c *crashFS) { c.seen[accepted(c)].seen[20] ^= 1 },
		"copy gone":        func(c *crashFS) { delete(c.seen, accepted(c)) },
		"copy replaced":    func(c *crashFS) { c.seen[accepted(c)] = c.seen[memDir+"/boots/aaa.json"] },
	} {
		t.Run(name, func(t *testing.T) {
			c := lived(t)
			break_(c)
			c = c.clone()
			for run := range 3 {
				s := memStore(t, c)
				_, _, err := s.LastGood()
				var lost *LostError
				if !errors.As(err, &lost) || errors.Is(err, ErrNone) || !strings.Contains(lost.Hint(), "lastgood accept") {
					t.Fatalf("run %d: %v", run, err)
				}
			}
			s := memStore(t, c)
			if _, err := s.Accept("bbb", "root"); err != nil {
				t.Fatal(err)
			}
			if lg, _, err := s.LastGood(); err != nil || lg.Identity.BootID != "bbb" {
				t.Errorf("after accepting anew: %v, %v", lg, err)
			}
		})
	}
}

func TestDamagedRecordIsKept(t *testing.T) {
	c := damagedFile(lastGoodFile)(t)
	was := bytes.Clone(c.seen[memDir+"/last-good"].seen)
	s := memStore(t, c)
	if _, _, err := s.LastGood(); !isLost(err) {
		t.Fatal(err)
	}
	kept(t, c, lastGoodFile, was)
	if d := s.Damaged(); len(d) != 1 || !strings.Contains(d[0], "moved to") {
		t.Errorf("reported: %v", d)
	}
}

func TestTwinStandsInForADamagedCopy(t *testing.T) {
	c := newCrashFS()
	s := memStore(t, c)
	if _, err := s.Save(snap("aaa", "6.1", "boot", day), nil); err != nil {
		t.Fatal(err)
	}
	rec, err := s.Accept("aaa", "root")
	if err != nil {
		t.Fatal(err)
	}
	c.seen[filepath.Join(memDir, bootsDir, rec.Snapshot)].seen[30] ^= 1
	if lg, _, err := s.LastGood(); err != nil || lg.Identity.BootID != "aaa" {
		t.Errorf("last good: %v", err)
	}
	if len(s.Damaged()) == 0 {
		t.Error("the damage was not reported")
	}
}

func TestRecordOfAnotherVersionIsNoDamage(t *testing.T) {
	c := lived(t)
	doc, err := encodeSealed(Record{Schema: "lastgood.last-good/v2", BootID: "aaa"})
	if err != nil {
		t.Fatal(err)
	}
	c.seen[memDir+"/last-good"] = &inode{doc, doc}
	s := memStore(t, c)
	var other *RecordSchemaError
	if _, _, err := s.LastGood(); !errors.As(err, &other) || other.Hint() == "" {
		t.Errorf("last good: %v", err)
	}
	if !bytes.Equal(c.seen[memDir+"/last-good"].seen, doc) {
		t.Error("it was replaced")
	}
}

func FuzzRecord(f *testing.F) {
	sum := strings.Repeat("0a", 32)
	b, err := encodeSealed(Record{Schema: recordSchema, BootID: "aaa", Release: "6.1", Snapshot: acceptedFile("aaa", sum), SHA256: sum, Accepted: day, By: "root"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":"lastgood.last-good/v1","lost":"x"}`))
	f.Add([]byte(`{"schema":"lastgood.last-good/v1","boot_id":"../x","sha256":"` + sum + `","snapshot":"../x.accepted-0a0a0a0a0a0a0a0a.json"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseRecord(b)
		if err != nil {
			return
		}
		if rec.Lost == "" && (filepath.Base(rec.Snapshot) != rec.Snapshot || !validBootID(rec.BootID)) {
			t.Fatalf("a record that points out of the store was taken: %+v", rec)
		}
		doc, err := encodeSealed(rec)
		if err != nil {
			return // a year beyond what JSON carries
		}
		if _, err := unseal(doc); err != nil {
			t.Fatalf("what was sealed does not hold: %v", err)
		}
		if again, err := parseRecord(doc); err != nil || !again.Accepted.Equal(rec.Accepted) || again.SHA256 != rec.SHA256 || again.Lost != rec.Lost {
			t.Fatalf("came back as %+v (%v), was %+v", again, err, rec)
		}
	})
}

func FuzzSeal(f *testing.F) {
	f.Add([]byte("{\n \"a\": 1\n}\n"))
	f.Add([]byte(sealHead + sealTail))
	f.Fuzz(func(t *testing.T, b []byte) {
		if doc, sum, err := seal(b); err == nil {
			if got, err := unseal(doc); err != nil || got != sum {
				t.Fatalf("what was sealed does not hold: %v", err)
			}
		}
		if _, err := unseal(b); err == nil && !bytes.HasSuffix(b, []byte(sealTail)) {
			t.Fatal("a document without a seal passes")
		}
	})
}
