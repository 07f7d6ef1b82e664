package probes

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// btfWalk goes over the section of types, whose ids are their places in it.
type btfWalk struct {
	names  map[uint32]string // offset of a wanted name → the name
	wanted []targetName
	found  map[string]btfTarget
}

func (w *btfWalk) walk(r io.Reader) error {
	in := bufio.NewReaderSize(r, btfChunk)
	for id := uint32(1); ; id++ {
		h, err := in.Peek(btfType)
		if err == io.EOF && len(h) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read BTF type %d: %w", id, whole(err))
		}
		nameOff, info := binary.NativeEndian.Uint32(h), binary.NativeEndian.Uint32(h[4:])
		kind, vlen := info>>24&0x1f, info&0xffff
		size, err := trailer(kind, vlen)
		if err != nil {
			return fmt.Errorf("read BTF type %d: %w", id, err)
		}
		size += btfType
		if wantedKind(kind) {
			if name, ok := w.names[nameOff]; ok {
				n, err := w.match(in, id, kind, vlen, name)
				if err != nil {
					return fmt.Errorf("read BTF type %d: %w", id, whole(err))
				}
				size -= n
			}
		}
		if _, err := in.Discard(size); err != nil {
			return fmt.Errorf("read BTF type %d: %w", id, whole(err))
		}
	}
}

// wantedKind are the kinds that targets are of; most types are of others.
func wantedKind(kind uint32) bool { return kind == btfFunc || kind == btfTypedef || kind == btfStruct }

// whole turns the end of the section within a type into a fault.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// match keeps the type if it is a wanted one, and returns how much of it it has
// read. The first of two types of a name is kept.
func (w *btfWalk) match(in *bufio.Reader, id, kind, vlen uint32, name string) (int, error) {
	for _, n := range w.wanted {
		if n.kind != kind || n.name != name {
			continue
		}
		if _, twice := w.found[n.key()]; twice {
			return 0, nil
		}
		if n.member == "" {
			w.found[n.key()] = btfTarget{id: id}
			return 0, nil
		}
		return w.member(in, n, id, vlen)
	}
	return 0, nil
}

// member looks for n's member among the vlen members of structure id.
func (w *btfWalk) member(in *bufio.Reader, n targetName, id, vlen uint32) (int, error) {
	const size = 12 // struct btf_member
	if _, err := in.Discard(btfType); err != nil {
		return 0, err
	}
	for i := range vlen {
		m, err := in.Peek(size)
		if err != nil {
			return 0, err
		}
		at := binary.NativeEndian.Uint32(m)
		if _, err := in.Discard(size); err != nil {
			return 0, err
		}
		if w.names[at] == n.member {
			w.found[n.key()] = btfTarget{id: id, member: i}
			return btfType + int(i+1)*size, nil
		}
	}
	return btfType + int(vlen)*size, nil
}

// trailer is how many bytes follow a type of that kind. A kind that is not known
// has an unknown length, so nothing behind it can be found.
func trailer(kind, vlen uint32) (int, error) {
	switch kind {
	case btfInt, btfVar, btfDeclTag:
		return 4, nil
	case btfArray:
		return 12, nil
	case btfStruct, btfUnion, btfDatasec, btfEnum64:
		return 12 * int(vlen), nil
	case btfEnum, btfFuncProto:
		return 8 * int(vlen), nil
	case 2, 7, btfTypedef, 9, 10, 11, btfFunc, btfFloat, btfTypeTag: // pointer, forward, volatile, const, restrict
		return 0, nil
	}
	return 0, fmt.Errorf("kind %d is not known", kind)
}
