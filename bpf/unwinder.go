package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem unwinder_small UnwinderSmall unwinder.bpf.c -- -DUNWINDER_SIZE=1 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem unwinder_medium UnwinderMedium unwinder.bpf.c -- -DUNWINDER_SIZE=2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem unwinder_large UnwinderLarge unwinder.bpf.c -- -DUNWINDER_SIZE=3 -mcpu=v3 -nostdinc -Wall -Wextra -Werror

// Unwinders returns the sizes of the unwinder of user stacks, a raw tracepoint program called
// unwind_user, smallest first.
func Unwinders() []Object {
	return []Object{
		{"small", LoadUnwinderSmall},
		{"medium", LoadUnwinderMedium},
		{"large", LoadUnwinderLarge},
	}
}
