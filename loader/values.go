package loader

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// maxValues bounds a file of values.
const maxValues = 4 << 20

// ParseValues reads values of global variables. It takes an object {"NAME": VALUE},
// such an object under the key "variables", and what `bpftool -j map dump` writes of a
// data section with type information. A value is a number, true or false, the name of
// an enum's value, a list for an array, an object for a struct; text fills an array of
// characters, "0x…" is hexadecimal bytes in memory order, and other text is the
// variable's bytes in base64, as agents dump them.
func ParseValues(b []byte) (map[string]json.RawMessage, error) {
	if len(b) > maxValues {
		return nil, fmt.Errorf("read values: more than %d MiB", maxValues>>20)
	}
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '[' {
		return bpftoolValues(b)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	if nested, ok := all["variables"]; ok && len(all) == 1 {
		all = nil
		if err := json.Unmarshal(nested, &all); err != nil {
			return nil, fmt.Errorf("read values: variables: %w", err)
		}
	}
	return all, nil
}

// bpftoolValues reads [{"key":0,"value":{".rodata":[{"NAME":VALUE},…]}}].
func bpftoolValues(b []byte) (map[string]json.RawMessage, error) {
	var entries []struct {
		Value     map[string][]map[string]json.RawMessage `json:"value"`
		Formatted struct {
			Value map[string][]map[string]json.RawMessage `json:"value"`
		} `json:"formatted"`
	}
	if err := json.Unmarshal(b, &entries); err != nil {
		return nil, fmt.Errorf("read values: no dump of a data section: %w", err)
	}
	all := map[string]json.RawMessage{}
	for _, e := range entries {
		for _, section := range []map[string][]map[string]json.RawMessage{e.Value, e.Formatted.Value} {
			for _, vars := range section {
				for _, v := range vars {
					maps.Copy(all, v)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("read values: no dump of a data section: it names no variable")
	}
	return all, nil
}

// configPrefix is what Cilium's DECLARE_CONFIG puts before a variable's name.
const configPrefix = "__config_"

// setValues writes values into the data sections. One that is for no variable is noted;
// one that does not fit its variable is an error, for what would be measured is another
// program.
func (o *Object) setValues(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	values, err := ParseValues(b)
	if err != nil {
		return err
	}
	var strange []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := o.spec.Variables[name]
		if v == nil {
			v = o.spec.Variables[configPrefix+name]
		}
		if v == nil {
			strange = append(strange, name)
			continue
		}
		if err := setValue(v, values[name]); err != nil {
			return fmt.Errorf("set value %s: %w", name, err)
		}
	}
	if len(strange) > 0 {
		o.note("values are given for variables that it does not have: %s", list(strange))
	}
	return nil
}

// list joins the first of some names.
func list(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func setValue(v *ebpf.VariableSpec, raw json.RawMessage) error {
	var typ btf.Type
	if v.Type != nil {
		typ = v.Type.Type
	}
	out := make([]byte, v.Size())
	copy(out, v.Value) // members that are not named stay as they are
	if err := encodeValue(out, typ, raw, 0); err != nil {
		return err
	}
	return v.Set(out)
}

// maxNesting bounds the depth of a value.
const maxNesting = 16

// encodeValue writes raw into out, which is the memory of a variable of that type; nil
// where the type is not known.
func encodeValue(out []byte, typ btf.Type, raw json.RawMessage, depth int) error {
	if depth > maxNesting {
		return errors.New("it is nested too deeply")
	}
	if typ != nil {
		typ = btf.UnderlyingType(typ)
	}
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0:
		return errors.New("it is empty")
	case raw[0] == '"':
		return encodeText(out, typ, raw)
	case raw[0] == '[':
		return encodeArray(out, typ, raw, depth)
	case raw[0] == '{':
		return encodeStruct(out, typ, raw, depth)
	case string(raw) == "true":
		return encodeNumber(out, typ, big.NewInt(1))
	case string(raw) == "false":
		return encodeNumber(out, typ, big.NewInt(0))
	case string(raw) == "null":
		return errors.New("it is null")
	}
	n, ok := new(big.Int).SetString(string(raw), 10)
	if !ok {
		return fmt.Errorf("%s is no whole number", raw)
	}
	return encodeNumber(out, typ, n)
}

func encodeNumber(out []byte, typ btf.Type, n *big.Int) error {
	switch typ.(type) {
	case nil, *btf.Int, *btf.Enum, *btf.Pointer:
	default:
		return fmt.Errorf("%v is a number, and the variable is none", n)
	}
	bits := uint(len(out) * 8)
	if bits == 0 || bits > 128 {
		return fmt.Errorf("a variable of %d bytes is no number", len(out))
	}
	low := new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), bits-1))
	if n.Cmp(low) < 0 || n.BitLen() > int(bits) {
		return fmt.Errorf("%v does not fit into %d bytes", n, len(out))
	}
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), bits))
	}
	n.FillBytes(out)
	if nativeEndian.Uint16([]byte{1, 0}) == 1 {
		slices.Reverse(out)
	}
	return nil
}

func encodeText(out []byte, typ btf.Type, raw json.RawMessage) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	if e, ok := typ.(*btf.Enum); ok {
		for _, v := range e.Values {
			if v.Name == text {
				return encodeNumber(out, typ, new(big.Int).SetUint64(v.Value))
			}
		}
	}
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		if n, isNumber := new(big.Int).SetString(digits, 16); isNumber && numeric(typ) {
			return encodeNumber(out, typ, n)
		}
		return fill(out, "hexadecimal", hex.DecodeString, digits)
	}
	if isText(typ) {
		if len(text) >= len(out) {
			return fmt.Errorf("text of %d bytes does not fit into %d with its end", len(text), len(out))
		}
		clear(out)
		copy(out, text)
		return nil
	}
	return fill(out, "base64", base64.StdEncoding.DecodeString, text)
}

func numeric(typ btf.Type) bool {
	switch typ.(type) {
	case *btf.Int, *btf.Enum, *btf.Pointer:
		return true
	}
	return false
}

func isText(typ btf.Type) bool {
	a, ok := typ.(*btf.Array)
	if !ok {
		return false
	}
	i, ok := btf.UnderlyingType(a.Type).(*btf.Int)
	return ok && i.Size == 1 && i.Name == "char"
}

// fill takes the variable's very bytes.
func fill(out []byte, form string, decode func(string) ([]byte, error), text string) error {
	b, err := decode(text)
	if err != nil {
		return fmt.Errorf("%q is no %s", cut(text), form)
	}
	if len(b) != len(out) {
		return fmt.Errorf("%d bytes for a variable of %d", len(b), len(out))
	}
	copy(out, b)
	return nil
}

func cut(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func encodeArray(out []byte, typ btf.Type, raw json.RawMessage, depth int) error {
	var elems []json.RawMessage
	if err := json.Unmarshal(raw, &elems); err != nil {
		return err
	}
	var elem btf.Type
	size, room := 1, len(out)
	if a, ok := typ.(*btf.Array); ok {
		n, err := btf.Sizeof(a.Type)
		if err != nil {
			return err
		}
		elem, size, room = a.Type, n, int(a.Nelems)
	} else if typ != nil {
		return errors.New("a list is given, and the variable is no array")
	}
	if size == 0 || len(elems) > room || len(elems)*size > len(out) {
		return fmt.Errorf("%d elements for an array of %d", len(elems), room)
	}
	for i, e := range elems {
		if err := encodeValue(out[i*size:(i+1)*size], elem, e, depth+1); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

func encodeStruct(out []byte, typ btf.Type, raw json.RawMessage, depth int) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	var members []btf.Member
	switch t := typ.(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	default:
		return errors.New("members are given, and the variable is no struct")
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		i := slices.IndexFunc(members, func(m btf.Member) bool { return m.Name == name })
		if i < 0 {
			return fmt.Errorf("no member %s", name)
		}
		m := members[i]
		size, err := btf.Sizeof(m.Type)
		at := int(m.Offset.Bytes())
		if err != nil || m.BitfieldSize != 0 || at+size > len(out) {
			return fmt.Errorf("member %s: bit fields and members without a size cannot be set", name)
		}
		if err := encodeValue(out[at:at+size], m.Type, fields[name], depth+1); err != nil {
			return fmt.Errorf("member %s: %w", name, err)
		}
	}
	return nil
}
