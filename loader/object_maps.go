package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
)

// maxMapBytes bounds one map. Arrays are not made smaller, for the verifier sees their
// size, and one of a gigabyte is not worth the host's memory.
const maxMapBytes = 256 << 20

// tooLargeError is a map that was not tried.
type tooLargeError struct{ bytes uint64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("it would take %d MiB, and no more than %d MiB are spent on one map", e.bytes>>20, maxMapBytes>>20)
}

// errUnfinished is a map whose shape only its agent knows.
var errUnfinished = errors.New("the object does not tell the size of its keys or values: its agent does, when it loads it")

// unfinished reports whether a map's shape is left open. Ring buffers, queues and the
// like have no keys or no values.
func unfinished(m *ebpf.MapSpec) bool {
	switch m.Type {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie:
		return m.KeySize == 0 || m.ValueSize == 0
	case ebpf.Array, ebpf.PerCPUArray:
		return m.ValueSize == 0
	}
	return false
}

// shapeMaps makes the object's maps such as the verifier takes for the agent's own, and
// no larger.
func (o *Object) shapeMaps(inner map[string]MapShape) error {
	for name := range inner {
		if o.spec.Maps[name] == nil {
			o.note("an inner map is given for %s, which the object does not have", name)
		}
	}
	legacy := map[uint32]*ebpf.MapSpec{}
	for _, name := range slices.Sorted(maps.Keys(o.spec.Maps)) {
		o.legacy(o.spec.Maps[name], legacy)
	}
	for _, name := range slices.Sorted(maps.Keys(o.spec.Maps)) {
		m := o.spec.Maps[name]
		// Names of pins and the agents' own flags beside them: nothing is pinned.
		m.Pinning = ebpf.PinNone
		if m.Type == ebpf.ArrayOfMaps || m.Type == ebpf.HashOfMaps {
			if err := o.giveInner(name, m, inner); err != nil {
				return err
			}
			m.Contents = nil
		}
		if m.Type == ebpf.ProgramArray {
			// What a tail call leads to says nothing of the caller, and a program that
			// may not be inserted would be called rejected although it is verified.
			m.Contents = nil
		}
		shrink(m)
		if m.InnerMap != nil {
			m.InnerMap.Pinning = ebpf.PinNone
			shrink(m.InnerMap)
		}
	}
	return nil
}

// legacyDef is what iproute2 put behind a map's definition (struct bpf_elf_map).
type legacyDef struct{ ID, Pinning, InnerID, InnerIdx uint32 }

// legacy reads iproute2's part of a definition in a section named maps: a map's id, and
// the id of its inner map. Newer fields of that size are all zero.
func (o *Object) legacy(m *ebpf.MapSpec, byID map[uint32]*ebpf.MapSpec) {
	if m.Extra == nil {
		return
	}
	var def legacyDef
	err := binary.Read(m.Extra, nativeEndian, &def)
	rest, _ := io.ReadAll(m.Extra)
	m.Extra = nil
	if err != nil || len(rest) > 0 {
		return
	}
	if def.ID != 0 {
		byID[def.ID] = m
	}
	if in := byID[def.InnerID]; def.InnerID != 0 && in != nil && in != m {
		m.InnerMap = in.Copy()
	}
}

// giveInner supplies the template of a map of maps: the agent's own where the object
// tells it, one that was given, or a guess, and then its programs are measured
// approximately.
func (o *Object) giveInner(name string, m *ebpf.MapSpec, given map[string]MapShape) error {
	if shape, ok := given[name]; ok {
		typ, ok := mapTypeNamed(shape.Type)
		if !ok {
			return fmt.Errorf("inner map of %s: no map type %q", name, shape.Type)
		}
		m.InnerMap = &ebpf.MapSpec{Type: typ, KeySize: shape.KeySize, ValueSize: shape.ValueSize, MaxEntries: shape.MaxEntries, Flags: shape.Flags}
		return nil
	}
	if m.InnerMap != nil {
		return nil
	}
	m.InnerMap = &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}
	o.note("the object does not tell what the maps in %s are like: an array of 8-byte values stands in for them; give their shape under inner_maps", name)
	for prog, spec := range o.spec.Programs {
		if slices.Contains(o.mapsOf(spec), name) {
			o.mark(prog).approximate = "what the maps in " + name + " are like is a guess"
		}
	}
	return nil
}

// shrink makes a map as small as it can be without the verifier seeing it. It sees the
// number of an array's entries (bounds of constant keys), never that of a hash.
func shrink(m *ebpf.MapSpec) {
	page := uint32(os.Getpagesize())
	switch m.Type {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.LPMTrie, ebpf.HashOfMaps, ebpf.SockHash, ebpf.DevMapHash, ebpf.Queue, ebpf.Stack, ebpf.StackTrace:
		m.MaxEntries = 1
		m.Contents = nil
		if m.Type == ebpf.StackTrace && m.ValueSize == 0 {
			// Agents set it when they load; the verifier never sees it (PERF_MAX_STACK_DEPTH).
			m.ValueSize = 127 * 8
		}
	case ebpf.RingBuf, ebpf.UserRingbuf:
		m.MaxEntries = page
	case ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CGroupStorage, ebpf.PerCPUCGroupStorage, ebpf.CgroupStorage, ebpf.StructOpsMap, ebpf.Arena, ebpf.PerfEventArray:
		// Their kernel wants 0, or knows better.
	default:
		m.MaxEntries = max(m.MaxEntries, 1)
	}
}

// footprint is about how much memory a map takes.
func footprint(m *ebpf.MapSpec) uint64 {
	const perEntry = 8
	size := uint64(m.ValueSize+7)&^7 + perEntry
	switch m.Type {
	case ebpf.Array, ebpf.ArrayOfMaps, ebpf.ProgramArray:
	case ebpf.PerCPUArray:
		size *= uint64(runtime.NumCPU())
	default:
		return 0
	}
	return size * uint64(m.MaxEntries)
}

func (o *Object) note(format string, args ...any) {
	o.notes = append(o.notes, fmt.Sprintf(format, args...))
}

func (o *Object) mark(program string) *aboutProgram {
	if o.about[program] == nil {
		o.about[program] = &aboutProgram{}
	}
	return o.about[program]
}
