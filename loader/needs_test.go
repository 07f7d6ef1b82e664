package loader

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// kernelTypes is raw BTF of a kernel that has what needs.c reaches for, but for what
// leave names.
func kernelTypes(t testing.TB, leave ...string) *Kernel {
	t.Helper()
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	attrs := &btf.Struct{Name: "iattrs", Size: 4, Members: []btf.Member{{Name: "mode", Type: integer}}}
	node := &btf.Struct{Name: "kernfs_node", Size: 32}
	for at, m := range []btf.Member{{Name: "parent", Type: &btf.Pointer{Target: node}}, {Name: "attrs", Type: attrs}, {Name: "optional", Type: integer}, {Name: "former", Type: integer}} {
		if !slices.Contains(leave, m.Name) {
			m.Offset = btf.Bits(at * 64)
			node.Members = append(node.Members, m)
		}
	}
	proto := &btf.FuncProto{Return: integer}
	types := []btf.Type{node}
	for _, typ := range []btf.Type{
		&btf.Struct{Name: "gone_type", Size: 4, Members: []btf.Member{{Name: "x", Type: integer}}},
		&btf.Enum{Name: "kind", Size: 4, Values: []btf.EnumValue{{Name: "KIND_FILE"}, {Name: "KIND_LINK", Value: 7}}},
		&btf.Func{Name: "bpf_test_kfunc", Type: proto, Linkage: btf.StaticFunc},
		&btf.Func{Name: "kernfs_dop_revalidate", Type: proto, Linkage: btf.StaticFunc},
	} {
		if !slices.Contains(leave, typ.TypeName()) {
			types = append(types, typ)
		}
	}
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.NativeEndian})
	if err != nil {
		t.Fatal(err)
	}
	k, err := ReadKernel(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func needsObject(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/needs.o")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLacks: what is missing is named as a person would; what a program asks for before
// it uses it is not.
func TestLacks(t *testing.T) {
	object := needsObject(t)
	for _, c := range []struct{ leave, want string }{
		{"", ""},
		{"optional", ""},
		{"parent", "field kernfs_node.parent"},
		{"mode", ""}, // not left out: it is of another struct
		{"attrs", "field kernfs_node.attrs.mode"},
		{"former", "field kernfs_node.former"},
		{"gone_type", "type gone_type"},
		{"kind", "value kind.KIND_LINK"},
		{"bpf_test_kfunc", "kfunc bpf_test_kfunc"},
		{"kernfs_dop_revalidate", "function kernfs_dop_revalidate"},
	} {
		lacks, err := kernelTypes(t, c.leave).Lacks(bytes.NewReader(object))
		if err != nil {
			t.Fatalf("without %q: %v", c.leave, err)
		}
		var got []string
		for _, n := range lacks {
			got = append(got, n.String())
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("without %q:\n%s", c.leave, diff)
		}
	}
}

func TestLacksBadInput(t *testing.T) {
	if _, err := kernelTypes(t).Lacks(strings.NewReader("no object")); err == nil {
		t.Error("text was read as an object")
	}
	if _, err := ReadKernel(strings.NewReader("no BTF")); err == nil {
		t.Error("text was read as types")
	}
}

func TestKfuncs(t *testing.T) {
	got, err := Kfuncs(bytes.NewReader(needsObject(t)))
	if err != nil || !slices.Equal(got, []string{"bpf_test_kfunc"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// FuzzLacks: whatever an object holds, it is read or refused.
func FuzzLacks(f *testing.F) {
	f.Add(needsObject(f))
	k := kernelTypes(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if lacks, err := k.Lacks(bytes.NewReader(b)); err == nil && slices.ContainsFunc(lacks, func(n Need) bool { return n.Name == "" }) {
			t.Fatalf("a need without a name: %v", lacks)
		}
	})
}
