package baseline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func objectStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.TryLock(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestObjectsAreKeptByContent(t *testing.T) {
	s := objectStore(t)
	a, b := []byte("object a"), []byte("object b")
	for _, data := range [][]byte{a, b, a} {
		if err := s.PutObject(digestOf(data), data, 0); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Object(digestOf(a)); err != nil || string(got) != "object a" {
		t.Errorf("%q, %v", got, err)
	}
	path, err := s.ObjectFile(digestOf(b))
	if err != nil || filepath.Base(path) != digestOf(b) {
		t.Errorf("%s, %v", path, err)
	}
	if err := s.PutObject(digestOf(a), b, 0); err == nil {
		t.Error("bytes are kept under another's digest")
	}
	if err := s.PutObject(digestOf([]byte("c")), []byte("c"), 16); !errors.Is(err, ErrNoRoom) {
		t.Errorf("beyond the bound: %v", err)
	}
	if err := s.PruneObjects([]string{digestOf(a)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Object(digestOf(b)); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "not kept") {
		t.Errorf("pruned: %v", err)
	}
	if _, err := s.Object(digestOf(a)); err != nil {
		t.Errorf("not pruned: %v", err)
	}
	for _, name := range []string{"", "../../last-good", strings.Repeat("0", 63), strings.Repeat("z", 64)} {
		if _, err := s.Object(name); err == nil || !strings.Contains(err.Error(), "no digest") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestADamagedObjectIsMovedAside(t *testing.T) {
	s := objectStore(t)
	data := []byte("object")
	if err := s.PutObject(digestOf(data), data, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.objectPath(digestOf(data)), []byte("objecT"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := s.ObjectFile(digestOf(data))
	var d *DamagedError
	if !errors.As(err, &d) || d.MovedTo == "" || len(s.Damaged()) != 1 {
		t.Fatalf("%v, reported %q", err, s.Damaged())
	}
	if b, err := os.ReadFile(d.MovedTo); err != nil || string(b) != "objecT" {
		t.Errorf("aside: %q, %v", b, err)
	}
	if err := s.PutObject(digestOf(data), data, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Object(digestOf(data)); err != nil {
		t.Errorf("put again: %v", err)
	}
}

func TestObjectsNeedTheLock(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutObject(digestOf(nil), nil, 0); !errors.Is(err, ErrNotLocked) {
		t.Error(err)
	}
	if err := s.PruneObjects(nil); !errors.Is(err, ErrNotLocked) {
		t.Error(err)
	}
}
