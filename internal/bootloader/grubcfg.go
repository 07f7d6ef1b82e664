package bootloader

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// tri is a condition's answer: yes, no, or could not be told from here.
type tri int

const (
	unsure tri = iota
	yes
	no
)

func triOf(b bool) tri {
	if b {
		return yes
	}
	return no
}

func (t tri) not() tri { return [...]tri{unsure, no, yes}[t] }

// item is a line of GRUB's menu: an entry, or a submenu with its own lines.
type item struct {
	id, title             string
	submenu               bool
	items                 []item
	linux, initrd, option string
	release, source       string
	maybe                 bool // stands in a branch of which it could not be told whether GRUB takes it
}

// variable is a script variable's value; unknown says that it depends on what only
// GRUB can see.
type variable struct {
	value   string
	unknown bool
}

// script is a run of GRUB's script as far as it can be followed on the host: variables,
// conditions and menu entries, not disks and screens.
type script struct {
	vars   map[string]variable
	funcs  map[string][]node
	items  []item
	source string
	// defaultFrom is the variable that the default was last set from: next_entry, saved_entry or "".
	defaultFrom string
	env         map[string]string // what load_env loads
	envUnknown  bool              // the block is there and could not be read
	exists      func(name string) (bool, error)
	read        func(name string) (string, error)
	bls         func(vars func(string) string) ([]item, error) // what blscfg adds
	problems    []error
	depth       int
	steps       int // commands that may still be run
}

// maxSteps bounds the commands of one run, functions called and files sourced included.
const maxSteps = 200_000

// maxValue bounds a variable.
const maxValue = 16 << 10

// maxCalls bounds functions that call one another, and files that source one another.
const maxCalls = 16

// onlyGRUB are variables that the firmware or GRUB's core sets.
var onlyGRUB = []string{"root", "cmdpath", "grub_cpu", "lockdown", "shim_lock", "?"}

// envNames are variables that live in the environment block and decide what boots.
var envNames = []string{"next_entry", "saved_entry", "prev_saved_entry", "boot_counter", "boot_success", "boot_indeterminate", "boot_once", "kernelopts"}

func (s *script) get(name string) variable {
	if v, found := s.vars[name]; found {
		return v
	}
	switch {
	case strings.HasPrefix(name, "feature_"):
		return variable{value: "y"} // grub-core/normal/main.c exports them so since 2.00
	case slices.Contains(onlyGRUB, name) || strings.HasPrefix(name, "net_") || strings.HasPrefix(name, "pxe"):
		return variable{unknown: true}
	}
	return variable{}
}

// expand gives a command's words. A variable outside quotes that is empty leaves no word.
func (s *script) expand(words []word) []variable {
	var out []variable
	for _, w := range words {
		var v variable
		var text strings.Builder
		quoted := false
		for _, p := range w {
			quoted = quoted || p.quoted
			if !p.isVar {
				text.WriteString(p.text)
				continue
			}
			pv := s.get(p.text)
			v.unknown = v.unknown || pv.unknown
			if text.Len()+len(pv.value) > maxValue {
				v.unknown = true
				continue
			}
			text.WriteString(pv.value)
		}
		v.value = text.String()
		if v.value == "" && !quoted && !v.unknown {
			continue
		}
		out = append(out, v)
	}
	return out
}

// run runs commands one after the other; the answer is the last one's.
func (s *script) run(nodes []node) tri {
	last := yes
	for _, n := range nodes {
		if s.steps--; s.steps < 0 {
			return unsure
		}
		switch n.name {
		case "if":
			s.branch(n.arms)
			last = yes
		case "loop":
			s.perhaps([][]node{n.body, nil})
			last = yes
		case "function":
			if len(n.words) > 0 {
				s.funcs[n.words[0].literal()] = n.body
			}
		case "menuentry", "submenu":
			s.menu(n)
		default:
			last = s.command(n.words)
		}
	}
	return last
}

// branch takes the arm whose condition holds. From the first condition that cannot be told,
// all further arms may be the one.
func (s *script) branch(arms []arm) {
	for i, a := range arms {
		answer := yes
		if a.cond != nil {
			answer = s.run(a.cond)
		}
		switch answer {
		case yes:
			s.run(a.body)
			return
		case unsure:
			bodies := [][]node{}
			for _, b := range arms[i:] {
				bodies = append(bodies, b.body)
			}
			if arms[len(arms)-1].cond != nil {
				bodies = append(bodies, nil)
			}
			s.perhaps(bodies)
			return
		}
	}
}

// perhaps runs each body from where the script stands. What they leave different is unknown
// afterwards, and the menu lines that they add may be there or not.
func (s *script) perhaps(bodies [][]node) {
	before, lines := maps.Clone(s.vars), len(s.items)
	var ends []map[string]variable
	for _, b := range bodies {
		s.vars = maps.Clone(before)
		s.run(b)
		ends = append(ends, s.vars)
	}
	for i := lines; i < len(s.items); i++ {
		s.items[i].maybe = true
	}
	s.vars = before
	for _, e := range ends {
		for name, v := range e {
			if slices.ContainsFunc(ends, func(o map[string]variable) bool { return o[name] != v }) {
				v = variable{unknown: true}
			}
			s.vars[name] = v
		}
	}
}

// command runs a plain command.
func (s *script) command(words []word) tri {
	args := s.expand(words)
	if len(args) == 0 {
		return yes
	}
	if variable, _, found := strings.Cut(args[0].value, "="); found && isName(variable) {
		return s.set(words, args) // an assignment may stand without "set"
	}
	name, args := args[0].value, args[1:]
	switch name {
	case "set":
		return s.set(words[1:], args)
	case "unset":
		for _, a := range args {
			s.vars[a.value] = variable{}
		}
		return yes
	case "[", "test":
		return s.test(args)
	case "true", "export", "save_env", "insmod", "echo":
		return yes
	case "false":
		return no
	case "load_env":
		return s.loadEnv(args)
	case "increment", "decrement":
		return s.count(name, args)
	case "source", ".", "configfile":
		return s.sourceFile(args)
	case "blscfg":
		return s.addBLS()
	}
	if body, found := s.funcs[name]; found && s.depth < maxCalls {
		s.depth++
		defer func() { s.depth-- }()
		return s.run(body)
	}
	return unsure
}

// set assigns a variable, and keeps what the default was taken from.
func (s *script) set(words []word, args []variable) tri {
	for _, a := range args {
		name, value, found := strings.Cut(a.value, "=")
		if !found {
			continue
		}
		s.vars[name] = variable{value: value, unknown: a.unknown}
		if name == "default" {
			s.defaultFrom = ""
			for _, w := range words {
				for _, p := range w {
					if p.isVar {
						s.defaultFrom = p.text
					}
				}
			}
		}
	}
	return yes
}

func (s *script) loadEnv(args []variable) tri {
	if i := slices.IndexFunc(args, func(a variable) bool { return a.value == "-f" || a.value == "--file" }); i >= 0 {
		if i+1 >= len(args) || path.Base(args[i+1].value) != "grubenv" {
			return unsure
		}
	}
	if s.envUnknown {
		for _, n := range envNames {
			s.vars[n] = variable{unknown: true}
		}
		return unsure
	}
	for name, v := range s.env {
		s.vars[name] = variable{value: v}
	}
	return yes
}

// count is a command of Fedora's GRUB on a whole number.
func (s *script) count(name string, args []variable) tri {
	if len(args) != 1 {
		return unsure
	}
	v := s.get(args[0].value)
	n, err := strconv.Atoi(v.value)
	if err != nil || v.unknown {
		s.vars[args[0].value] = variable{unknown: true}
		return unsure
	}
	if name == "increment" {
		n++
	} else {
		n--
	}
	s.vars[args[0].value] = variable{value: strconv.Itoa(n)}
	return yes
}

func (s *script) sourceFile(args []variable) tri {
	if len(args) == 0 || args[0].unknown || s.depth >= maxCalls {
		s.problems = append(s.problems, fmt.Errorf("%s takes in a file that cannot be found from here", s.source))
		return unsure
	}
	name := args[0].value
	text, err := s.read(name)
	if err != nil {
		s.problems = append(s.problems, err)
		return unsure
	}
	nodes, err := parseGrubScript(text)
	if err != nil {
		s.problems = append(s.problems, fmt.Errorf("parse %s: %w", name, err))
	}
	was := s.source
	s.source = name
	s.depth++
	defer func() { s.source = was; s.depth-- }()
	return s.run(nodes)
}

func (s *script) addBLS() tri {
	items, err := s.bls(func(name string) string { return s.get(name).value })
	s.items = append(s.items, items...)
	if err != nil {
		s.problems = append(s.problems, err)
		return unsure
	}
	return yes
}
