package loader

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Explain loads one program once more and folds its log as [Explain] does. Of a program
// that only the library can link the kernel's own lines on functions are taken where it
// writes such; elsewhere the error is [ErrLibraryOnly].
func (o *Object) Explain(ctx context.Context, program string, types *btf.Cache, limits Limits) (Explanation, error) {
	req, err := o.Request(program, types)
	if err != nil {
		return Explanation{}, fmt.Errorf("explain %s: %w", program, err)
	}
	e, err := Explain(ctx, req, limits)
	if !errors.Is(err, ErrLibraryOnly) {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, limits.orDefault().Time)
	defer cancel()
	if e, ok := ExplainStatistics(program, o.Measure(ctx, program, types)); ok {
		return e, nil
	}
	return e, err
}
