package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
)

// MapError is a map that could not be created.
type MapError struct {
	Name string
	Err  error
}

func (e *MapError) Error() string { return fmt.Sprintf("create map %s: %v", e.Name, e.Err) }
func (e *MapError) Unwrap() error { return e.Err }

// CreateMaps creates a map for every spec, in the order of their names, and
// returns them under the same names. Nothing is pinned, whatever the specs say,
// and the specs are not changed. On failure, all are closed and the error is a
// *MapError that names the one that failed. The caller closes the maps.
func CreateMaps(specs map[string]*ebpf.MapSpec) (map[string]*ebpf.Map, error) {
	out := make(map[string]*ebpf.Map, len(specs))
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		m, err := createMap(specs[name])
		if err != nil {
			CloseMaps(out)
			return nil, &MapError{Name: name, Err: err}
		}
		out[name] = m
	}
	return out, nil
}

func createMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	if spec == nil {
		return nil, errors.New("no specification")
	}
	if unfinished(spec) {
		return nil, errUnfinished
	}
	if n := footprint(spec); n > maxMapBytes {
		return nil, &tooLargeError{n}
	}
	spec = spec.Copy()
	spec.Pinning = ebpf.PinNone
	if spec.InnerMap != nil {
		spec.InnerMap.Pinning = ebpf.PinNone
	}
	return ebpf.NewMap(spec)
}

// CloseMaps closes all maps; nil ones are skipped.
func CloseMaps(all map[string]*ebpf.Map) {
	for _, m := range all {
		m.Close()
	}
}
