package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"lastgood/internal/snapshot"
)

// Cache remembers what a kernel made of an object. Counters are exact: the same bytes
// with the same values give the same on the same kernel, configured alike, by the same
// lastgood, so once is enough.
type Cache struct {
	Dir string
	// Host names the kernel, its configuration and the measuring program; "" remembers
	// and recalls nothing, for then it is not known what the answer would be of.
	Host string
}

// maxCached bounds the files of a cache; the oldest go first.
const maxCached = 4096

// HostKey is Cache.Host of an identity: every fact that verification or translation may
// follow, "" where one of them could not be read.
func HostKey(id *snapshot.Identity, tool string) string {
	if id.Kernel.BuildID == "" || !id.SameBuild(id) {
		return ""
	}
	b, err := json.Marshal([]any{tool, id.Kernel, id.CPU, id.Lockdown, id.LSM, id.SecureBoot, id.Sysctls, id.Cgroup, id.Virtualization})
	if err != nil {
		return ""
	}
	return digest(b)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// entry is a file of the cache.
type entry struct {
	Sum      string          `json:"sum"` // of Subjects
	Subjects json.RawMessage `json:"subjects"`
}

func (c *Cache) path(f *File) string {
	b, err := json.Marshal([]any{c.Host, f.Name, f.Digest, f.ValuesDigest, f.Types, f.Inner, f.Only, f.Loader})
	if err != nil || c.Host == "" || c.Dir == "" {
		return ""
	}
	return filepath.Join(c.Dir, digest(b)+".json")
}

// Recall gives the programs of an object as they were measured, or nothing.
func (c *Cache) Recall(f *File) []snapshot.Subject {
	name := c.path(f)
	if name == "" {
		return nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var e entry
	var subjects []snapshot.Subject
	if json.Unmarshal(b, &e) != nil || e.Sum != digest(e.Subjects) || json.Unmarshal(e.Subjects, &subjects) != nil {
		return nil // measured again, and then written anew
	}
	return subjects
}

// Remember keeps the programs of an object, unless something of it could not be told.
func (c *Cache) Remember(f *File, subjects []snapshot.Subject) error {
	name := c.path(f)
	if name == "" || len(subjects) == 0 {
		return nil
	}
	for i := range subjects {
		if o := subjects[i].Outcome; o != snapshot.Measured && o != snapshot.Unsupported || len(subjects[i].Errs) > 0 {
			return nil
		}
	}
	raw, err := json.Marshal(subjects)
	if err != nil {
		return fmt.Errorf("remember object %s: %w", f.Name, err)
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(entry{Sum: digest(raw), Subjects: raw}); err != nil {
		return fmt.Errorf("remember object %s: %w", f.Name, err)
	}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return fmt.Errorf("remember object %s: %w", f.Name, err)
	}
	// Not synced: after a power cut it is measured again.
	tmp, err := os.CreateTemp(c.Dir, ".new-*")
	if err != nil {
		return fmt.Errorf("remember object %s: %w", f.Name, err)
	}
	_, err = tmp.Write(b.Bytes())
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("remember object %s: %w", f.Name, err)
	}
	return nil
}

// Prune removes the oldest files beyond a bound, and those of writers that were killed.
func (c *Cache) Prune() error {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune measurements: %w", err)
	}
	if len(entries) <= maxCached {
		return nil
	}
	type aged struct {
		name string
		at   int64
	}
	var all []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, aged{e.Name(), info.ModTime().UnixNano()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	var errs []error
	for _, a := range all[:max(0, len(all)-maxCached/2)] {
		errs = append(errs, os.Remove(filepath.Join(c.Dir, a.name)))
	}
	return errors.Join(errs...)
}
