package baseline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// Names in the state folder of what is kept by its content.
const (
	objectsDir = "objects"
	sha256Dir  = "sha256"
)

// DefaultMaxObjects bounds the bytes of all objects that are kept.
const DefaultMaxObjects = 256 << 20

// maxObject bounds one of them, as the one who reads objects does.
const maxObject = 64 << 20

// ErrNoRoom is returned where another object would be more than may be kept.
var ErrNoRoom = errors.New("no more objects are kept")

// PutObject keeps bytes under their SHA-256, once. maxBytes bounds all that is kept; 0
// means DefaultMaxObjects.
func (s *Store) PutObject(digest string, data []byte, maxBytes int64) error {
	if maxBytes == 0 {
		maxBytes = DefaultMaxObjects
	}
	return s.write(func() error {
		if sum := digestOf(data); sum != digest {
			return fmt.Errorf("keep object %s: its bytes have the digest %s", digest, sum)
		}
		for _, dir := range []string{s.path(objectsDir), s.path(objectsDir, sha256Dir)} {
			if err := makeDir(s.fl, dir); err != nil {
				return err
			}
		}
		infos, err := s.fl.ReadDir(s.path(objectsDir, sha256Dir))
		if err != nil {
			return fileErr("read", s.path(objectsDir, sha256Dir), err)
		}
		var total int64
		for _, i := range infos {
			if i.Name == digest && i.Size == int64(len(data)) {
				return nil
			}
			total += i.Size
		}
		if total+int64(len(data)) > maxBytes {
			return fmt.Errorf("keep object %.12s: %w: they have %d MiB already", digest, ErrNoRoom, total>>20)
		}
		return replace(s.fl, s.objectPath(digest), data)
	})
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (s *Store) objectPath(digest string) string { return s.path(objectsDir, sha256Dir, digest) }

// Object reads what is kept under a digest. Bytes that are not what they were are moved
// aside and reported.
func (s *Store) Object(digest string) ([]byte, error) {
	if !validDigest(digest) {
		return nil, fmt.Errorf("read object %q: that is no digest", digest)
	}
	s.work.Lock()
	defer s.work.Unlock()
	name := s.objectPath(digest)
	b, err := s.fl.ReadFile(name, maxObject)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its bytes were not kept: %w", fileErr("read", name, err))
	}
	if err != nil && !errors.Is(err, errTooLarge) {
		return nil, fileErr("read", name, err)
	}
	if err != nil || digestOf(b) != digest {
		damage := &DamagedError{Path: name, Why: errors.New("its bytes are not what was kept")}
		s.setAside(damage)
		return nil, damage
	}
	return b, nil
}

// ObjectFile is the path of what is kept under a digest, after it was read and found whole.
func (s *Store) ObjectFile(digest string) (string, error) {
	if _, err := s.Object(digest); err != nil {
		return "", err
	}
	return s.objectPath(digest), nil
}

// PruneObjects removes what is kept under no digest of those given.
func (s *Store) PruneObjects(keep []string) error {
	return s.write(func() error {
		dir := s.path(objectsDir, sha256Dir)
		infos, err := s.fl.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fileErr("read", dir, err)
		}
		if err := removeTemps(s.fl, dir, func(string) bool { return true }); err != nil {
			return fileErr("remove", dir, err)
		}
		removed := false
		for _, i := range infos {
			if !validDigest(i.Name) || slices.Contains(keep, i.Name) {
				continue
			}
			if err := s.fl.Remove(filepath.Join(dir, i.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fileErr("remove", i.Name, err)
			}
			removed = true
		}
		if !removed {
			return nil
		}
		return fileErr("write", dir, s.fl.SyncDir(dir))
	})
}

func validDigest(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == sha256.Size
}
