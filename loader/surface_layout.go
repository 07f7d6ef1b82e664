package loader

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout says where the kernel keeps what n names: a field's place, size and type, a
// value's number, a type's size. It is empty where there is no such thing.
func (k *Kernel) layout(n Need) string {
	name, path, _ := strings.Cut(n.Name, ".")
	all, err := k.spec.AnyTypesByName(name)
	if err != nil {
		return ""
	}
	for _, t := range all {
		if s := layoutIn(t, n.What, path); s != "" {
			return s
		}
	}
	return ""
}

func layoutIn(t btf.Type, what, path string) string {
	switch what {
	case "value":
		e, ok := btf.UnderlyingType(t).(*btf.Enum)
		if !ok {
			return ""
		}
		for _, v := range e.Values {
			if v.Name == path {
				return fmt.Sprintf("value %d", v.Value)
			}
		}
	case "type":
		if size, err := btf.Sizeof(t); err == nil {
			return fmt.Sprintf("%d bytes", size)
		}
		return "present" // a function's prototype, say, has no size
	case "field":
		if path == "" { // the whole of it, as an access without a member is
			return layoutIn(t, "type", "")
		}
		return fieldIn(t, path)
	}
	return ""
}

// fieldIn follows a path of member names through structs, unions and arrays.
func fieldIn(t btf.Type, path string) string {
	at := btf.Bits(0)
	var bits btf.Bits
	for name := range strings.SplitSeq(path, ".") {
		for {
			array, ok := btf.UnderlyingType(t).(*btf.Array)
			if !ok {
				break
			}
			t = array.Type
		}
		m, offset, ok := memberOf(t, name, 0)
		if !ok {
			return ""
		}
		at += offset
		t, bits = m.Type, m.BitfieldSize
	}
	if bits > 0 {
		return fmt.Sprintf("bit %d, %d bits, %s", at, bits, typeWords(t, 0))
	}
	size, err := btf.Sizeof(t)
	if err != nil {
		return fmt.Sprintf("offset %d, %s", at.Bytes(), typeWords(t, 0))
	}
	return fmt.Sprintf("offset %d, %d bytes, %s", at.Bytes(), size, typeWords(t, 0))
}

// maxNested bounds how deep types are followed; hostile type information has no end.
const maxNested = 16

// memberOf finds a member by name, in anonymous structs and unions too.
func memberOf(t btf.Type, name string, depth int) (btf.Member, btf.Bits, bool) {
	var members []btf.Member
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	for _, m := range members {
		if m.Name == name {
			return m, m.Offset, true
		}
		if m.Name == "" && depth < maxNested {
			if inner, at, ok := memberOf(m.Type, name, depth+1); ok {
				return inner, m.Offset + at, true
			}
		}
	}
	return btf.Member{}, 0, false
}

// typeWords names a type as C would, without what is inside it.
func typeWords(t btf.Type, depth int) string {
	if depth > maxNested {
		return "…"
	}
	switch t := t.(type) {
	case *btf.Pointer:
		return typeWords(t.Target, depth+1) + " *"
	case *btf.Const:
		return "const " + typeWords(t.Type, depth+1)
	case *btf.Volatile:
		return "volatile " + typeWords(t.Type, depth+1)
	case *btf.Restrict:
		return typeWords(t.Type, depth+1)
	case *btf.TypeTag:
		return typeWords(t.Type, depth+1) // __rcu and the like: another word, not another layout
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", typeWords(t.Type, depth+1), t.Nelems)
	case *btf.Struct:
		return "struct " + t.Name
	case *btf.Union:
		return "union " + t.Name
	case *btf.Enum:
		return "enum " + t.Name
	case *btf.FuncProto:
		return "function"
	case *btf.Void:
		return "void"
	}
	return t.TypeName()
}
