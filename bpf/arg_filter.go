package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem arg_filter_small ArgFilterSmall arg_filter.bpf.c -- -DFILTER_SIZE=1 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem arg_filter_medium ArgFilterMedium arg_filter.bpf.c -- -DFILTER_SIZE=2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem arg_filter_large ArgFilterLarge arg_filter.bpf.c -- -DFILTER_SIZE=3 -mcpu=v3 -nostdinc -Wall -Wextra -Werror

// ArgFilters returns the sizes of the filter of system calls, a raw tracepoint program called
// filter_args, smallest first.
func ArgFilters() []Object {
	return []Object{
		{"small", LoadArgFilterSmall},
		{"medium", LoadArgFilterMedium},
		{"large", LoadArgFilterLarge},
	}
}
