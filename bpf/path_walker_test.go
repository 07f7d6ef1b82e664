package bpf

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// walkedPath is struct path of path_walker.bpf.c.
type walkedPath struct {
	Begin, Components, Flags, Rule uint32
	Bytes                          [4096 + 256]byte
}

type watch struct{ Rule, Deep uint32 }

const (
	pathCut         = 1
	pathUnreadable  = 2
	pathUnreachable = 4
	pathWatched     = 8
	pathMounts      = 16
)

// tree is a file system in kernel memory.
type tree struct {
	*kernelMemory
	used int
}

func (f *tree) alloc(words ...uint64) uint64 {
	at := f.put(f.used, words...)
	f.used += 8 * len(words)
	return at
}

// entry adds a name below parent; without parent it is a root.
func (f *tree) entry(parent uint64, name string) uint64 {
	text := f.used
	copy(f.bytes[text:], name)
	f.used += (len(name) + 8) / 8 * 8
	at := f.base + uint64(f.used)
	if parent == 0 {
		parent = at
	}
	return f.alloc(parent, f.base+uint64(text), uint64(len(name))<<32, 0)
}

func (f *tree) mount(parent, root, at uint64) uint64 { return f.alloc(parent, root, at, 0) }

// walk runs the walker over the place of an entry.
func (f *tree) walk(coll *ebpf.Collection, mount, entry, rootMount, root uint64) walkedPath {
	f.t.Helper()
	place, top := f.alloc(mount, entry), f.alloc(rootMount, root)
	f.flush()
	var zero walkedPath
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		f.t.Fatal(err)
	}
	clean := make([]walkedPath, cpus)
	putMap(f.t, coll, "paths", uint32(0), clean)
	runRaw(f.t, coll.Programs["walk_path"], place, top)
	var all []walkedPath
	if err := coll.Maps["paths"].Lookup(uint32(0), &all); err != nil {
		f.t.Fatal(err)
	}
	for _, p := range all {
		if p != zero { // the CPU that it ran on
			return p
		}
	}
	f.t.Fatal("no path came out")
	return zero
}

func (p walkedPath) text() string { return string(p.Bytes[min(p.Begin, 4096):4096]) }

func djb2(text string) uint32 {
	h := uint32(5381)
	for _, c := range []byte(text) {
		h = h*33 ^ uint32(c)
	}
	return h
}

func TestWalkPath(t *testing.T) {
	eachObject(t, PathWalkers(), func(t *testing.T, size string, coll *ebpf.Collection) {
		f := &tree{kernelMemory: newKernelMemory(t, 1<<14)}
		root := f.entry(0, "/")
		first := f.mount(0, root, 0)
		usr := f.entry(root, "usr")
		bin := f.entry(usr, "bin")
		ls := f.entry(bin, "ls")
		disk := f.entry(0, "/")
		mounted := f.mount(first, disk, bin)
		tool := f.entry(disk, "t")

		putMap(t, coll, "watches", djb2("/usr/bin/ls"), watch{Rule: 3})
		p := f.walk(coll, first, ls, first, root)
		if p.text() != "/usr/bin/ls" || p.Components != 3 || p.Flags != pathWatched || p.Rule != 3 {
			t.Errorf("path %q, %d components, flags %d, rule %d", p.text(), p.Components, p.Flags, p.Rule)
		}
		if p = f.walk(coll, mounted, tool, first, root); p.text() != "/usr/bin/t" || p.Flags != pathMounts {
			t.Errorf("over a mount point: %q, flags %d", p.text(), p.Flags)
		}
		if p = f.walk(coll, first, ls, first, usr); p.text() != "/bin/ls" || p.Flags != 0 {
			t.Errorf("in another root: %q, flags %d", p.text(), p.Flags)
		}
		if p = f.walk(coll, first, root, first, root); p.text() != "/" || p.Flags != 0 {
			t.Errorf("the root: %q, flags %d", p.text(), p.Flags)
		}
		if p = f.walk(coll, first, tool, first, root); p.text() != "/t" || p.Flags != pathUnreachable {
			t.Errorf("a root that no mount shows: %q, flags %d", p.text(), p.Flags)
		}
		if size == "small" { // does not look directories up
			return
		}
		putMap(t, coll, "watches", djb2("/usr"), watch{Rule: 4, Deep: 1})
		if p = f.walk(coll, mounted, tool, first, root); p.Rule != 4 || p.Flags != pathMounts|pathWatched {
			t.Errorf("below a watched directory: flags %d, rule %d", p.Flags, p.Rule)
		}
	})
}

func TestWalkPathGivesUp(t *testing.T) {
	eachObject(t, PathWalkers(), func(t *testing.T, _ string, coll *ebpf.Collection) {
		f := &tree{kernelMemory: newKernelMemory(t, 1<<14)}
		root := f.entry(0, "/")
		first := f.mount(0, root, 0)
		long := f.entry(root, strings.Repeat("x", 300))
		if p := f.walk(coll, first, long, first, root); p.text() != "/"+strings.Repeat("x", 255) || p.Flags != pathCut {
			t.Errorf("long name: %q, flags %d", p.text(), p.Flags)
		}
		deep := root
		for range 60 {
			deep = f.entry(deep, "d")
		}
		if p := f.walk(coll, first, deep, first, root); p.Flags&pathCut == 0 || !strings.HasPrefix(p.text(), "/d/d/d") || p.Components == 0 {
			t.Errorf("deep: %q, flags %d", p.text(), p.Flags)
		}
		lost := f.alloc(0, 0, 1<<32, 0) // a name that nothing holds
		if p := f.walk(coll, first, lost, first, root); p.Flags != pathUnreadable {
			t.Errorf("name that cannot be read: %q, flags %d", p.text(), p.Flags)
		}
	})
}
