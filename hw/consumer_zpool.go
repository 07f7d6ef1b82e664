package hw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"lastgood/internal/sysfs"
)

// maxZpoolCache bounds the cache: a pool of a hundred disks has some 50 KB.
const maxZpoolCache = 4 << 20

// readZpoolCache reads the paths of the disks that the pools of this host were last
// found on. ZFS tries them first at boot; it checks each disk's label, so a name that was
// handed on is noticed, and the disk behind it missed.
func readZpoolCache(ctx context.Context, root *sysfs.Root) ([]mention, error) {
	const file = "/etc/zfs/zpool.cache"
	b, err := root.Bytes(ctx, maxZpoolCache+1, file)
	if sysfs.Absent(err) || (err == nil && len(b) == 0) { // empty after the last pool was exported
		return nil, nil
	}
	if err == nil && len(b) > maxZpoolCache {
		err = fmt.Errorf("read %s: longer than %d bytes", file, maxZpoolCache)
	}
	if err != nil {
		return nil, err
	}
	disks, err := parseZpoolCache(b)
	if err != nil {
		err = fmt.Errorf("read %s: %w", file, err)
	}
	var out []mention
	for _, d := range disks {
		if _, ok := baseOf(d.path, nil); ok {
			out = append(out, mention{file: file, name: d.path, purpose: "disk of pool " + d.pool, need: needBoot})
		}
	}
	return out, err
}

// poolDisk is a disk of a ZFS pool.
type poolDisk struct{ pool, path string }

// Types of an nvlist's values (data_type_t, include/sys/nvpair.h of OpenZFS) that are looked into.
const (
	nvString    = 9
	nvList      = 19
	nvListArray = 20
)

// nvEncodeXDR is the first byte of a packed list that is in XDR (nvs_header_t, nvs_xdr of
// module/nvpair/nvpair.c).
const nvEncodeXDR = 1

// parseZpoolCache reads a packed list of pools, by name: in each the tree of its vdevs,
// whose leaves bear a path.
func parseZpoolCache(b []byte) ([]poolDisk, error) {
	if len(b) < 4 || b[0] != nvEncodeXDR {
		return nil, errors.New("it is no list in XDR")
	}
	x := &xdr{rest: b[4:]}
	var out []poolDisk
	x.list("", 0, &out)
	return out, x.err
}

// xdr takes big-endian words off a buffer (RFC 4506). After the first fault all it
// gives is zero.
type xdr struct {
	rest []byte
	err  error
}

func (x *xdr) fail(why string) {
	if x.err == nil {
		x.err = errors.New(why)
	}
	x.rest = nil
}

func (x *xdr) word() uint32 {
	if len(x.rest) < 4 {
		x.fail("it is cut short")
		return 0
	}
	n := binary.BigEndian.Uint32(x.rest)
	x.rest = x.rest[4:]
	return n
}

// text is a length and so many bytes, filled up to a word.
func (x *xdr) text() string {
	n := int64(x.word())
	if padded := (n + 3) &^ 3; padded <= int64(len(x.rest)) {
		s := string(x.rest[:n])
		x.rest = x.rest[padded:]
		return s
	}
	x.fail("it is cut short")
	return ""
}

// maxNested bounds lists in lists: pool, tree, mirror, spare, disk.
const maxNested = 16

// list reads version, flags and pairs up to the end mark. Each pair says its own
// size, so that what is not looked into is passed over.
func (x *xdr) list(pool string, depth int, out *[]poolDisk) {
	if depth > maxNested {
		x.fail("lists nest too deep")
		return
	}
	x.word() // version
	x.word() // flags
	for x.err == nil {
		whole := x.rest
		size := x.word()
		if decoded := x.word(); size == 0 && decoded == 0 {
			return
		}
		if size < 8 || int64(size) > int64(len(whole)) {
			x.fail("a pair has no plausible size")
			return
		}
		pair := &xdr{rest: whole[8:size]}
		pair.pair(pool, depth, out)
		if pair.err != nil {
			x.fail(pair.err.Error())
			return
		}
		x.rest = whole[size:]
	}
}

// pair reads a name, a type, a number of elements, and the elements where they may lead
// to paths. At the top each name is a pool.
func (x *xdr) pair(pool string, depth int, out *[]poolDisk) {
	name := x.text()
	typ, elements := x.word(), x.word()
	if depth == 0 {
		pool = name
	}
	switch {
	case typ == nvString && name == "path":
		if p := x.text(); x.err == nil {
			*out = append(*out, poolDisk{pool, p})
		}
	case typ == nvList:
		x.list(pool, depth+1, out)
	case typ == nvListArray:
		for range elements {
			if x.list(pool, depth+1, out); x.err != nil {
				return
			}
		}
	}
}
