package probes

import "strconv"

// numbers stand at every edge that an instruction could trip over: sign bits and
// carries of each width, upper halves that ought not to matter, and patterns in which
// every byte is another.
var numbers = []uint64{
	0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32,
	0x7fffffffffffffff, 1 << 63, 1<<64 - 1, 1<<64 - 2, 0x0123456789abcdef, 0xfedcba9876543210,
	0xffffffff80000000, 0xffffffff7fffffff, 0x8000000080000000, 0x00000001ffffffff,
}

// numberPairs pairs each number with itself and with so many others.
func numberPairs(others int) [][2]uint64 {
	var out [][2]uint64
	for i, a := range numbers {
		out = append(out, [2]uint64{a, a})
		for j := range others {
			out = append(out, [2]uint64{a, numbers[(i+1+j*9)%len(numbers)]})
		}
	}
	return out
}

func decimal(n int32) string { return strconv.Itoa(int(n)) }
