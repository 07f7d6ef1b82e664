package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

type valueType uint8

const (
	typeNone valueType = iota
	typeInt
	typeFloat
	typeBool
	typeText
	typeList
	typeRaw // JSON of a shape this version does not know, kept as it is
)

// Value is one attribute's value: an integer, a float, a truth value, a text
// or a set of texts. The zero Value is "no value" and is never stored.
type Value struct {
	typ  valueType
	num  int64
	real float64
	text string
	list []string
}

// Int is a whole number: a counter, a size in bytes, a count.
func Int[T ~int | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](n T) Value {
	if n > 0 && int64(n) < 0 { // a uint64 beyond int64 would change its sign
		return Float(float64(n))
	}
	return Value{typ: typeInt, num: int64(n)}
}

// Float is a measured quantity in its base unit: seconds, degrees Celsius.
// A number that JSON cannot carry (NaN, infinity) is no value.
func Float(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{typ: typeFloat, real: f}
}

// Bool is yes or no, for facts that cannot be anything else. A fact that may
// also be "could not tell" is a Text.
func Bool(b bool) Value {
	v := Value{typ: typeBool}
	if b {
		v.num = 1
	}
	return v
}

// Text is a name, a state or a line of evidence.
func Text[T ~string](s T) Value { return Value{typ: typeText, text: string(s)} }

// List is a set of texts: it is kept sorted and without repeats, so that two
// equal sets are equal values whatever order they were read in.
func List(items ...string) Value {
	l := slices.Clone(items)
	slices.Sort(l)
	return Value{typ: typeList, list: slices.Compact(l)}
}

// IsZero reports whether v is no value at all.
func (v Value) IsZero() bool { return v.typ == typeNone }

// Equal reports whether the two values are of one type and the same.
func (v Value) Equal(o Value) bool {
	return v.typ == o.typ && v.num == o.num && v.real == o.real && v.text == o.text && slices.Equal(v.list, o.list)
}

// Number is the value as a float and whether it is a number at all.
func (v Value) Number() (float64, bool) {
	switch v.typ {
	case typeInt:
		return float64(v.num), true
	case typeFloat:
		return v.real, true
	}
	return 0, false
}

// Int is the value as a whole number and whether it is one.
func (v Value) Int() (int64, bool) { return v.num, v.typ == typeInt }

// Text is the value as a text and whether it is one.
func (v Value) Text() (string, bool) { return v.text, v.typ == typeText }

// Items is the value as a set and whether it is one. The slice is not to be changed.
func (v Value) Items() ([]string, bool) { return v.list, v.typ == typeList }

// String is the value for a person, without a unit.
func (v Value) String() string {
	switch v.typ {
	case typeInt:
		return strconv.FormatInt(v.num, 10)
	case typeFloat:
		return strconv.FormatFloat(v.real, 'g', 6, 64)
	case typeBool:
		if v.num != 0 {
			return "yes"
		}
		return "no"
	case typeList:
		return strings.Join(v.list, ", ")
	case typeText, typeRaw:
		return v.text
	}
	return "-"
}

// MarshalJSON writes a number, a string, a boolean or an array of strings. A
// float always bears a point or an exponent, so that it is read back as a float.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.typ {
	case typeInt:
		return strconv.AppendInt(nil, v.num, 10), nil
	case typeFloat:
		b := strconv.AppendFloat(nil, v.real, 'g', -1, 64)
		if !bytes.ContainsAny(b, ".e") {
			b = append(b, '.', '0')
		}
		return b, nil
	case typeBool:
		return strconv.AppendBool(nil, v.num != 0), nil
	case typeText:
		return json.Marshal(v.text)
	case typeList:
		if v.list == nil {
			return []byte("[]"), nil
		}
		return json.Marshal(v.list)
	case typeRaw:
		return []byte(v.text), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON writes. A shape of a later version (an
// object, a mixed array) is kept as it is and compares by its bytes.
func (v *Value) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return fmt.Errorf("decode value: empty")
	}
	switch c := b[0]; {
	case c == 'n':
		*v = Value{}
		return nil
	case c == 't' || c == 'f':
		*v = Bool(c == 't')
		return nil
	case c == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("decode value: %w", err)
		}
		*v = Text(s)
		return nil
	case c == '[':
		var l []string
		if err := json.Unmarshal(b, &l); err == nil {
			*v = List(l...)
			return nil
		}
	case c == '-' || (c >= '0' && c <= '9'):
		return v.unmarshalNumber(string(b))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return fmt.Errorf("decode value: %w", err)
	}
	*v = Value{typ: typeRaw, text: compact.String()}
	return nil
}

func (v *Value) unmarshalNumber(s string) error {
	if !strings.ContainsAny(s, ".eE") {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			*v = Value{typ: typeInt, num: n}
			return nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("decode value %q: %w", s, err)
	}
	*v = Float(f)
	return nil
}
