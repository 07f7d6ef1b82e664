package loader

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

var (
	u8       = &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}
	u32      = &btf.Typedef{Name: "__u32", Type: &btf.Int{Name: "unsigned int", Size: 4}}
	s16      = &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	modeEnum = &btf.Enum{Name: "mode", Size: 4, Values: []btf.EnumValue{{Name: "OFF"}, {Name: "ON", Value: 7}}}
	pair     = &btf.Struct{Name: "pair", Size: 8, Members: []btf.Member{{Name: "a", Type: u32}, {Name: "b", Type: s16, Offset: 32}, {Name: "bit", Type: s16, Offset: 48, BitfieldSize: 3}}}
)

func TestEncodeValue(t *testing.T) {
	for _, c := range []struct {
		typ  btf.Type
		was  []byte
		json string
		want []byte
		err  string
	}{
		{typ: u32, json: "258", want: []byte{2, 1, 0, 0}},
		{typ: u32, json: "4294967295", want: []byte{255, 255, 255, 255}},
		{typ: u32, json: "4294967296", err: "does not fit into 4 bytes"},
		{typ: s16, json: "-2", want: []byte{254, 255}},
		{typ: s16, json: "-32769", err: "does not fit"},
		{typ: u32, json: "1.5", err: "no whole number"},
		{typ: u32, json: "true", want: []byte{1, 0, 0, 0}},
		{typ: u32, json: "null", err: "null"},
		{typ: u32, json: `"0x10"`, want: []byte{16, 0, 0, 0}},
		{typ: u32, json: `"AQIDBA=="`, want: []byte{1, 2, 3, 4}},
		{typ: u32, json: `"AQID"`, err: "3 bytes for a variable of 4"},
		{typ: u32, json: `"no base64!"`, err: "no base64"},
		{typ: nil, was: make([]byte, 2), json: `"0x0102"`, want: []byte{1, 2}},
		{typ: modeEnum, json: `"ON"`, want: []byte{7, 0, 0, 0}},
		{typ: &btf.Array{Type: u8, Nelems: 4}, json: `"abc"`, want: []byte("abc\x00")},
		{typ: &btf.Array{Type: u8, Nelems: 4}, json: `"abcd"`, err: "does not fit into 4 with its end"},
		{typ: &btf.Array{Type: s16, Nelems: 2}, json: `[1, -1]`, want: []byte{1, 0, 255, 255}},
		{typ: &btf.Array{Type: s16, Nelems: 2}, json: `[1, 2, 3]`, err: "3 elements for an array of 2"},
		{typ: &btf.Array{Type: s16, Nelems: 2}, json: `[1, "x"]`, err: "element 1"},
		{typ: pair, was: []byte{9, 9, 9, 9, 9, 9, 9, 9}, json: `{"b": 1}`, want: []byte{9, 9, 9, 9, 1, 0, 9, 9}},
		{typ: pair, json: `{"c": 1}`, err: "no member c"},
		{typ: pair, json: `{"bit": 1}`, err: "bit fields"},
		{typ: pair, json: `5`, err: "the variable is none"},
		{typ: u32, json: `[1]`, err: "no array"},
		{typ: u32, json: `{"a":1}`, err: "no struct"},
	} {
		out := c.was
		if out == nil {
			n, err := btf.Sizeof(c.typ)
			if err != nil {
				t.Fatal(err)
			}
			out = make([]byte, n)
		}
		err := encodeValue(out, c.typ, json.RawMessage(c.json), 0)
		switch {
		case c.err == "" && (err != nil || cmp.Diff(c.want, out) != ""):
			t.Errorf("%s: %v, %v; want %v", c.json, out, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %q", c.json, err, c.err)
		}
	}
}

func TestParseValues(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": 1}`:                  `{"a":1}`,
		`{"variables": {"b": "x"}}`: `{"b":"x"}`,
		`{"variables": 1, "c": 2}`:  `{"c":2,"variables":1}`,
		`[{"key":0,"value":{".rodata":[{"d":3},{"e":[1,2]}]}}]`:                             `{"d":3,"e":[1,2]}`,
		`[{"key":["0x00"],"value":{},"formatted":{"key":0,"value":{".rodata":[{"f":4}]}}}]`: `{"f":4}`,
	} {
		got, err := ParseValues([]byte(text))
		b, _ := json.Marshal(got)
		if err != nil || string(b) != want {
			t.Errorf("%s: %s, %v", text, b, err)
		}
	}
	for _, bad := range []string{"", "{", `"x"`, `[]`, `[{"value":{}}]`, `{"variables": 3}`} {
		if got, err := ParseValues([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzEncodeValue(f *testing.F) {
	for _, seed := range []string{"1", "-1", `"0xff"`, `"AAAA"`, `[1,[2]]`, `{"a":{"b":1},"b":2}`, "true", `"ON"`} {
		f.Add(seed)
	}
	types := []btf.Type{nil, u32, s16, modeEnum, pair, &btf.Array{Type: pair, Nelems: 3}, &btf.Array{Type: u8, Nelems: 8}, &btf.Union{Size: 8, Members: pair.Members[:2]}}
	f.Fuzz(func(t *testing.T, text string) {
		for _, typ := range types {
			n := 8
			if typ != nil {
				n, _ = btf.Sizeof(typ)
			}
			guard := make([]byte, n+8)
			out := guard[:n:n]
			if err := encodeValue(out, typ, json.RawMessage(text), 0); err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
			for _, b := range guard[n:] {
				if b != 0 {
					t.Fatal("written beyond the variable")
				}
			}
		}
	})
}
