package probes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// sampleTypes is type information of an int x, a structure s{x a, x b} and a function f.
func sampleTypes() []byte {
	const names = "s\x00a\x00b\x00f" // at 3, 5, 7 and 9
	return btfBlob(names,
		3, btfStruct<<btfKind|2, 8, 5, 1, 0, 7, 1, 32,
		0, btfFuncProto<<btfKind|1, 1, 5, 1,
		9, btfFunc<<btfKind, 3)
}

func TestScanBTF(t *testing.T) {
	wanted := []targetName{{btfFunc, "f", ""}, {btfStruct, "s", "b"}, {btfStruct, "s", "none"}, {btfFunc, "s", ""}, {btfInt, "nowhere", ""}}
	got, err := scanBTF(bytes.NewReader(sampleTypes()), wanted)
	if err != nil {
		t.Fatal(err)
	}
	// A member that is not there has its structure's key but no target of its own.
	want := map[string]btfTarget{"f.": {id: 4}, "s.b": {id: 2, member: 1}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(btfTarget{})); d != "" {
		t.Error(d)
	}
}

func TestScanBTFDamaged(t *testing.T) {
	whole := sampleTypes()
	change := func(at int, b byte) []byte {
		c := bytes.Clone(whole)
		c[at] = b
		return c
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "read BTF header", nil},
		{"wrong magic", "magic", change(0, 0)},
		{"wrong version", "version", change(2, 9)},
		{"huge section", "sections of", change(15, 0x7f)},
		{"unknown kind", "kind 31", change(btfHeader+4+3, 31)},
		{"cut within a type", "unexpected EOF", change(12, whole[12]-4)},
		{"name without end", "longer than", append(bytes.Clone(whole[:20]), append([]byte{0, 0x10, 0, 0}, append(bytes.Clone(whole[24:]), bytes.Repeat([]byte("n"), 4096)...)...)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := scanBTF(bytes.NewReader(tt.data), allTargets()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

type failing struct{ r io.ReaderAt }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off >= btfHeader {
		return 0, errors.New("input/output error")
	}
	return f.r.ReadAt(p, off)
}

func TestScanBTFReadError(t *testing.T) {
	if _, err := scanBTF(failing{bytes.NewReader(sampleTypes())}, allTargets()); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("got error %v", err)
	}
}

func TestTargetWithoutBTF(t *testing.T) {
	c := newCensor("/nonexistent/btf/vmlinux")
	if _, err := c.target(lsmTarget); !errors.Is(err, errNoBTF) {
		t.Errorf("got %v, want %v", err, errNoBTF)
	}
	name := t.TempDir() + "/btf"
	if err := os.WriteFile(name, sampleTypes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newCensor(name).target(lsmTarget); !errors.Is(err, errNoTarget) {
		t.Errorf("got %v, want %v", err, errNoTarget)
	}
}

// TestScanBTFAgreesWithLibrary checks the scan of this kernel's types against
// the library that decodes them all.
func TestScanBTFAgreesWithLibrary(t *testing.T) {
	f, err := os.Open(defaultBTF)
	if err != nil {
		t.Skip("this kernel shows no type information: ", err)
	}
	defer f.Close()
	got, err := scanBTF(f, allTargets())
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range allTargets() {
		types, err := spec.AnyTypesByName(n.name)
		if err != nil {
			if _, found := got[n.key()]; found {
				t.Errorf("%s was found, the library says %v", n.name, err)
			}
			continue
		}
		matches := false
		for _, typ := range types {
			id, err := spec.TypeID(typ)
			matches = matches || err == nil && uint32(id) == got[n.key()].id
		}
		if !matches {
			t.Errorf("%s: found as %+v, which the library does not know it as", n.name, got[n.key()])
		}
	}
}

func FuzzScanBTF(f *testing.F) {
	f.Add(sampleTypes())
	f.Add(intBTF())
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	for _, k := range btfKinds {
		f.Add(btfBlob(k.names, k.types...))
	}
	wanted := append(allTargets(), targetName{btfFunc, "f", ""}, targetName{btfStruct, "s", "b"})
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := scanBTF(bytes.NewReader(data), wanted)
		if found == nil {
			t.Fatalf("no result, error %v", err)
		}
		for key, at := range found {
			if at.id == 0 || int(at.id) > len(data)/btfType || int(at.member) > len(data)/btfType {
				t.Errorf("%s was found at %+v of %d bytes", key, at, len(data))
			}
		}
	})
}
