package probes

import (
	"bytes"
	"context"
	"path"
	"regexp"
	"strings"

	"lastgood/internal/sysfs"
)

// Bounds: a distribution's kernel with its modules has some 10 MB of symbols and 3 MB of
// functions that ftrace lists.
const (
	maxSymbols   = 128 << 20
	maxTraceable = 32 << 20
)

// symbolFound is what /proc/kallsyms has for one wanted name or pattern.
type symbolFound struct {
	own, modules int    // functions of exactly this name
	suffixed     string // the best name with a suffix of the compiler's
	pattern      bool
}

// state is the value of the attribute symbol.
func (s *symbolFound) state() string {
	switch {
	case s.own > 0:
		return hasIt
	case s.modules > 0:
		return inModule
	case s.suffixed != "":
		return renamed
	}
	return lacksIt
}

// symbolTable looks for wanted names while symbols go by.
type symbolTable struct {
	names    map[string]*symbolFound
	patterns map[string]*symbolFound
	// first tells which bytes a wanted name begins with: of 100,000 symbols most are
	// done with by that.
	first [256]bool
}

func newSymbolTable(wanted []string) *symbolTable {
	t := &symbolTable{names: map[string]*symbolFound{}, patterns: map[string]*symbolFound{}}
	for _, n := range wanted {
		switch {
		case !strings.ContainsAny(n, "*?"):
			t.names[n] = &symbolFound{}
			t.first[n[0]] = true
		case anyFirst(n):
			t.patterns[n] = &symbolFound{pattern: true}
			for i := range t.first {
				t.first[i] = true
			}
		default:
			t.patterns[n] = &symbolFound{pattern: true}
			t.first[n[0]] = true
		}
	}
	return t
}

// anyFirst reports whether what fits a pattern may begin with any byte.
func anyFirst(pattern string) bool { return strings.IndexByte("*?[", pattern[0]) >= 0 }

func (t *symbolTable) get(name string) *symbolFound {
	if s := t.names[name]; s != nil {
		return s
	}
	return t.patterns[name]
}

// compilerSuffix is what GCC and clang append to the name of a function that they made
// another of: with fewer or constant parameters, a part of it, its unlikely part, or one
// made unique for link time optimisation.
var compilerSuffix = regexp.MustCompile(`^(\.(isra|constprop|part|cold|llvm)(\.[0-9]+)?)+$`)

// whole tells a suffixed function from a part of one, which is not entered by a call.
func wholeFunction(suffix string) bool {
	return !strings.Contains(suffix, ".part") && !strings.Contains(suffix, ".cold")
}

// add notes one function.
func (t *symbolTable) add(name, module []byte) {
	if !t.first[name[0]] || string(module) == "bpf" {
		return // the latter is a loaded BPF program
	}
	base, suffix := name, []byte(nil)
	if dot := bytes.IndexByte(name, '.'); dot > 0 {
		base, suffix = name[:dot], name[dot:]
	}
	if s := t.names[string(base)]; s != nil {
		s.note(string(name), string(suffix), len(module) > 0)
	}
	for p, s := range t.patterns {
		if s.own == 0 && len(suffix) == 0 && (name[0] == p[0] || anyFirst(p)) {
			if fits, err := path.Match(p, string(name)); err == nil && fits {
				s.count(len(module) > 0)
			}
		}
	}
}

func (s *symbolFound) note(name, suffix string, module bool) {
	if suffix == "" {
		s.count(module)
		return
	}
	if !compilerSuffix.MatchString(suffix) {
		return
	}
	if s.suffixed == "" || wholeFunction(suffix) && !wholeFunction(strings.TrimPrefix(s.suffixed, name[:len(name)-len(suffix)])) {
		s.suffixed = name
	}
}

// count counts a pattern's fits once: how many there are says nothing.
func (s *symbolFound) count(module bool) {
	switch {
	case module && s.pattern:
		s.modules = 1
	case module:
		s.modules++
	case s.pattern:
		s.own = 1
	default:
		s.own++
	}
}

// parseSymbol reads a line of /proc/kallsyms, "ADDRESS TYPE NAME" and, behind a tab, the
// module in brackets (s_show in kernel/kallsyms.c). Only functions are given: types t, T,
// w and W. The address is 0 for those who may not see it and is not looked at.
func parseSymbol(line []byte) (name, module []byte, ok bool) {
	space := bytes.IndexByte(line, ' ')
	if space <= 0 || len(line) < space+4 || line[space+2] != ' ' {
		return nil, nil, false
	}
	switch line[space+1] {
	case 't', 'T', 'w', 'W':
	default:
		return nil, nil, false
	}
	return parseFunction(line[space+3:])
}

// parseFunction reads "NAME" or "NAME [MODULE]", a line of available_filter_functions.
func parseFunction(line []byte) (name, module []byte, ok bool) {
	name = line
	blank := bytes.IndexByte(line, '\t') // of kallsyms; the other list has a blank
	if blank < 0 {
		blank = bytes.IndexByte(line, ' ')
	}
	if blank >= 0 {
		name = line[:blank]
		rest := bytes.TrimSpace(line[blank:])
		if len(rest) > 2 && rest[0] == '[' {
			if close := bytes.IndexByte(rest, ']'); close > 1 {
				module = rest[1:close]
			}
		}
	}
	return name, module, len(name) > 0
}

// readSymbols looks for the wanted functions among the kernel's symbols.
func readSymbols(ctx context.Context, root *sysfs.Root, wanted []string) (*symbolTable, error) {
	t := newSymbolTable(wanted)
	return t, eachLine(ctx, root, "/proc/kallsyms", maxSymbols, func(line []byte) {
		if name, module, ok := parseSymbol(line); ok {
			t.add(name, module)
		}
	})
}

// readTraceable looks for them among those that ftrace lists, below the given tracefs.
func readTraceable(ctx context.Context, root *sysfs.Root, tracefs string, wanted []string) (*symbolTable, error) {
	t := newSymbolTable(wanted)
	return t, eachLine(ctx, root, tracefs+"/available_filter_functions", maxTraceable, func(line []byte) {
		if name, module, ok := parseFunction(line); ok {
			t.add(name, module)
		}
	})
}
