package loader

import (
	"bytes"
	"hash/fnv"
	"strconv"
)

// TypeCensus is what type information says of a kernel as a whole. The maps go from a
// name to a hash of what programs depend on.
type TypeCensus struct {
	Kinds       map[string]int    // kind of BTF → how many types are of it
	Kfuncs      map[string]uint32 // functions that are tagged bpf_kfunc → prototype
	Tracepoints map[string]uint32 // tracepoints → prototype
	Records     map[string]uint32 // classes of trace records → fields and their places
}

// Names by which the kernel's build marks what is counted: the typedef of a
// tracepoint's prototype (include/trace/bpf_probe.h), the structure of a class of
// records (include/trace/stages/stage1_struct_define.h) and the tag that pahole gives a
// kernel function (since 1.26, kernel 6.10: ebb79e96f1ea).
const (
	tracepointPrefix = "btf_trace_"
	recordPrefix     = "trace_event_raw_"
	kfuncTag         = "bpf_kfunc"
)

// Census goes over all types once.
func (t *TypeInfo) Census() *TypeCensus {
	c := &TypeCensus{Kinds: map[string]int{}, Kfuncs: map[string]uint32{}, Tracepoints: map[string]uint32{}, Records: map[string]uint32{}}
	var kinds [32]int
	for i := range t.at {
		r := rawType(t.types[t.at[i]:])
		k := r.kind()
		kinds[k]++
		switch k {
		case rawTypedef:
			if name, ok := bytes.CutPrefix(t.text(r.name()), []byte(tracepointPrefix)); ok {
				c.Tracepoints[string(name)] = hash(t.prototype(r))
			}
		case rawStruct:
			if name, ok := bytes.CutPrefix(t.text(r.name()), []byte(recordPrefix)); ok {
				c.Records[string(name)] = hash(t.members(r))
			}
		case rawDeclTag:
			if f := t.typ(r.ref()); f != nil && f.kind() == rawFunc && string(t.text(r.name())) == kfuncTag {
				c.Kfuncs[string(t.text(f.name()))] = hash(t.prototype(f))
			}
		}
	}
	for k, n := range kinds[:len(typeKinds)] {
		if n > 0 {
			c.Kinds[typeKinds[k]] = n
		}
	}
	return c
}

func hash(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // a hash takes everything
	return h.Sum32()
}

// prototype is that of a function, or of the function that a typedef points to.
func (t *TypeInfo) prototype(r rawType) string {
	for range maxNested {
		next := t.typ(r.ref())
		if next == nil {
			break
		}
		if next.kind() == rawFuncProto {
			return string(t.appendProto(nil, next, 0))
		}
		r = next
	}
	return "unknown"
}

// maxPrototype bounds what is written of one type: type information may be nested
// without end, and in breadth as well as in depth.
const maxPrototype = 4096

// appendProto writes result and parameters. Of a parameter's name only what stands
// behind two underscores counts: the verifier reads it (__sz, __k, __nullable, __ign).
// A tracepoint's first parameter, the probe's own data, is written as the others are.
func (t *TypeInfo) appendProto(b []byte, r rawType, depth int) []byte {
	b = t.appendWords(b, r.ref(), depth)
	b = append(b, " ("...)
	for i := range r.vlen() {
		if len(b) > maxPrototype {
			break
		}
		if i > 0 {
			b = append(b, ", "...)
		}
		name, typ := t.text(r.word(3+2*i)), r.word(4+2*i)
		if typ == 0 {
			b = append(b, "..."...)
			continue
		}
		b = t.appendWords(b, typ, depth)
		if at := bytes.LastIndex(name, []byte("__")); at > 0 {
			b = append(append(b, ' '), name[at:]...)
		}
	}
	return append(b, ')')
}

// appendWords names a type as C would. Qualifiers and tags make no other prototype, but
// const does.
func (t *TypeInfo) appendWords(b []byte, id uint32, depth int) []byte {
	r := t.typ(id)
	switch {
	case r == nil:
		return append(b, "void"...)
	case depth > maxNested, len(b) > maxPrototype:
		return append(b, "…"...)
	}
	switch r.kind() {
	case rawPtr:
		b = t.appendWords(b, r.ref(), depth+1)
		return append(b, " *"...)
	case rawConst:
		b = append(b, "const "...)
		return t.appendWords(b, r.ref(), depth+1)
	case rawVolatile, rawRestrict, rawTypeTag:
		return t.appendWords(b, r.ref(), depth+1)
	case rawArray:
		b = t.appendWords(b, r.word(3), depth+1)
		b = append(b, '[')
		b = strconv.AppendUint(b, uint64(r.word(5)), 10)
		return append(b, ']')
	case rawFuncProto:
		return t.appendProto(b, r, depth+1)
	case rawStruct, rawUnion, rawForward:
		b = append(b, "struct "...) // a forward declaration does not say which of the two
	case rawEnum, rawEnum64:
		b = append(b, "enum "...)
	}
	return append(b, t.text(r.name())...)
}

// members writes a structure's size, and the name, place and type of each member.
func (t *TypeInfo) members(r rawType) string {
	b := strconv.AppendUint(nil, uint64(r.ref()), 10)
	var words []byte
	for i := range r.vlen() {
		b = append(append(b, ';'), t.text(r.word(3+3*i))...)
		b = strconv.AppendUint(append(b, ' '), uint64(r.word(5+3*i)), 10)
		words = t.appendWords(words[:0], r.word(4+3*i), 0)
		b = append(append(b, ' '), words...)
	}
	return string(b)
}
