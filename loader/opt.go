package loader

// Opt is a value that may be absent. Absent is never zero: a kernel that does
// not report a counter must not look like one that counted nothing.
type Opt[T any] struct {
	V   T
	Set bool
}

// Some is a present value.
func Some[T any](v T) Opt[T] { return Opt[T]{V: v, Set: true} }

// Get returns the value and whether it is there.
func (o Opt[T]) Get() (T, bool) { return o.V, o.Set }
