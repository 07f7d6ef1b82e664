package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem l7_parser_small L7ParserSmall l7_parser.bpf.c -- -DL7_SIZE=1 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem l7_parser_medium L7ParserMedium l7_parser.bpf.c -- -DL7_SIZE=2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -no-global-types -output-stem l7_parser_large L7ParserLarge l7_parser.bpf.c -- -DL7_SIZE=3 -mcpu=v3 -nostdinc -Wall -Wextra -Werror

// L7Parsers returns the sizes of the parser of HTTP/1 and HTTP/2, a classifier called
// l7_parse, smallest first.
func L7Parsers() []Object {
	return []Object{
		{"small", LoadL7ParserSmall},
		{"medium", LoadL7ParserMedium},
		{"large", LoadL7ParserLarge},
	}
}
