package kernels

import (
	"fmt"
	"slices"
)

// Between lists the kernels of all from good to bad, these two included, in order.
// They must be of one flavour, architecture and package format: others have no order.
// A kernel that stands twice, as installed and as offered, is taken once. Good may be
// the newer one; the list then runs backwards in time.
func Between(good, bad Kernel, all []Kernel) ([]Kernel, error) {
	c, err := Compare(good, bad)
	if err != nil {
		return nil, err
	}
	if c == 0 {
		return nil, fmt.Errorf("bisect: %s and %s are one kernel", good.Release, bad.Release)
	}
	low, high := good, bad
	if c > 0 {
		low, high = bad, good
	}
	out := []Kernel{low}
	var inner []Kernel
	for _, k := range all {
		from, err := Compare(low, k)
		if err != nil || !k.Testable {
			continue // of another flavour, or nothing that could be booted
		}
		if to := compareSame(k, high); from < 0 && to < 0 {
			inner = append(inner, k)
		}
	}
	slices.SortStableFunc(inner, compareSame)
	inner = slices.CompactFunc(inner, func(a, b Kernel) bool { return compareSame(a, b) == 0 })
	out = append(append(out, inner...), high)
	if c > 0 {
		slices.Reverse(out)
	}
	return out, nil
}
