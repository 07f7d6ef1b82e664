package loader

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ObjectFile is an object to be measured, and how.
type ObjectFile struct {
	// Name is what its programs are known by, together with their own names.
	Name string `json:"name"`
	// Path is where its bytes are.
	Path string `json:"path"`
	// Digest is the SHA-256 that they must have, in hexadecimal; "" takes them as they are.
	Digest string              `json:"digest,omitempty"`
	Values json.RawMessage     `json:"values,omitempty"`
	Types  map[string]string   `json:"types,omitempty"`
	Inner  map[string]MapShape `json:"inner_maps,omitempty"`
	Loader string              `json:"loader,omitempty"` // see ObjectOptions
	// Only are patterns of the names of programs that the agent loads; one that begins
	// with ! leaves out. None takes all.
	Only []string `json:"only,omitempty"`
}

// MaxObject bounds an object; those of real agents have a few megabytes.
const MaxObject = 64 << 20

// Read reads the object's bytes: a regular file, of a bounded size, that does not
// change meanwhile, and is what it should be.
func (f *ObjectFile) Read() ([]byte, error) {
	b, err := readRegular(f.Path)
	if err != nil {
		return nil, err
	}
	if f.Digest != "" && DigestBytes(b) != f.Digest {
		return nil, fmt.Errorf("read object %s: it is not what it was a moment ago", f.Path)
	}
	return b, nil
}

// DigestBytes is the SHA-256 of an object's bytes, in hexadecimal.
func DigestBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func readRegular(name string) ([]byte, error) {
	// A FIFO that nobody writes to would hold the opener up.
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	defer file.Close()
	before, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read object: %w", err)
	case !before.Mode().IsRegular():
		return nil, fmt.Errorf("read object %s: it is no regular file", name)
	case before.Size() > MaxObject:
		return nil, fmt.Errorf("read object %s: %d MiB, and an object has no more than %d", name, before.Size()>>20, MaxObject>>20)
	}
	b := make([]byte, before.Size())
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, fmt.Errorf("read object %s: it changed while it was read: %w", name, err)
	}
	after, err := file.Stat()
	if err != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, fmt.Errorf("read object %s: it changed while it was read", name)
	}
	return b, nil
}

// Options are the file's, for OpenObject.
func (f *ObjectFile) Options() ObjectOptions {
	return ObjectOptions{Values: f.Values, Types: f.Types, Inner: f.Inner, Loader: f.Loader}
}

// Loads reports whether the agent loads the program.
func (f *ObjectFile) Loads(program string) bool {
	wanted := !slices.ContainsFunc(f.Only, func(p string) bool { return !strings.HasPrefix(p, "!") })
	for _, p := range f.Only {
		pattern, not := strings.CutPrefix(p, "!")
		if ok, _ := path.Match(pattern, program); ok {
			wanted = !not
		}
	}
	return wanted
}

// Listed is a program as the object's table of symbols has it.
type Listed struct {
	Name  string
	Insns int
}

// maxPrograms bounds the programs of an object.
const maxPrograms = 10_000

// ListPrograms lists an object's programs without reading more than its symbols. They
// are what the sections of code other than .text begin with, the functions in .text
// being called by them.
func ListPrograms(b []byte) (_ []Listed, err error) {
	defer func() {
		if p := recover(); p != nil { // debug/elf does not promise to bear hostile files
			err = fmt.Errorf("read object: its table of symbols makes no sense: %v", p)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read object: it is no ELF file: %w", err)
	}
	if f.Machine != elf.EM_BPF && f.Machine != elf.EM_NONE {
		return nil, fmt.Errorf("read object: it is for %v, not for BPF", f.Machine)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read object: its symbols: %w", err)
	}
	var found []Listed
	for _, s := range symbols {
		if isProgram(f, &s) {
			found = append(found, Listed{Name: s.Name, Insns: int(s.Size / insnSize)})
		}
	}
	if len(found) == 0 {
		return nil, errors.New("read object: it has no programs")
	}
	if len(found) > maxPrograms {
		return nil, fmt.Errorf("read object: %d programs, and no more than %d are measured", len(found), maxPrograms)
	}
	slices.SortFunc(found, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(found, func(a, b Listed) bool { return a.Name == b.Name }), nil
}

// isProgram reports whether a symbol begins a program. clang before 8 did not mark
// functions as such.
func isProgram(f *elf.File, s *elf.Symbol) bool {
	if s.Name == "" || int(s.Section) >= len(f.Sections) || s.Section == elf.SHN_UNDEF {
		return false
	}
	sec := f.Sections[s.Section]
	if sec.Type != elf.SHT_PROGBITS || sec.Flags&elf.SHF_EXECINSTR == 0 || sec.Name == ".text" {
		return false
	}
	switch elf.ST_TYPE(s.Info) {
	case elf.STT_FUNC:
		return true
	case elf.STT_NOTYPE:
		return elf.ST_BIND(s.Info) != elf.STB_LOCAL
	}
	return false
}
