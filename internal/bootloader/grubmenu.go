package bootloader

import (
	"path"
	"strconv"
	"strings"
)

// test is GRUB's test command, of which grub.cfg files use comparisons, file tests, -a, -o and "!".
func (s *script) test(args []variable) tri {
	if n := len(args); n > 0 && args[n-1].value == "]" {
		args = args[:n-1]
	}
	for i, a := range args {
		if a.value == "-o" && i > 0 && i+1 < len(args) {
			l, r := s.test(args[:i]), s.test(args[i+1:])
			if l == yes || r == yes {
				return yes
			}
			return either(l, r, no)
		}
	}
	for i, a := range args {
		if a.value == "-a" && i > 0 && i+1 < len(args) {
			l, r := s.test(args[:i]), s.test(args[i+1:])
			if l == no || r == no {
				return no
			}
			return either(l, r, yes)
		}
	}
	if len(args) > 1 && args[0].value == "!" {
		return s.test(args[1:]).not()
	}
	switch len(args) {
	case 0:
		return no
	case 1:
		if args[0].unknown {
			return unsure
		}
		return triOf(args[0].value != "")
	case 2:
		return s.unary(args[0].value, args[1])
	case 3:
		return compareWords(args[0], args[1].value, args[2])
	}
	return unsure
}

func either(a, b, all tri) tri {
	if a == all && b == all {
		return all
	}
	return unsure
}

func (s *script) unary(op string, v variable) tri {
	if v.unknown {
		return unsure
	}
	switch op {
	case "-z":
		return triOf(v.value == "")
	case "-n":
		return triOf(v.value != "")
	case "-e", "-f", "-s", "-d":
		if found, err := s.exists(v.value); err == nil {
			return triOf(found)
		}
	}
	return unsure
}

func compareWords(a variable, op string, b variable) tri {
	if a.unknown || b.unknown {
		return unsure
	}
	switch op {
	case "=", "==":
		return triOf(a.value == b.value)
	case "!=":
		return triOf(a.value != b.value)
	}
	x, errX := strconv.Atoi(a.value)
	y, errY := strconv.Atoi(b.value)
	if errX != nil || errY != nil {
		return unsure
	}
	switch op {
	case "-eq":
		return triOf(x == y)
	case "-ne":
		return triOf(x != y)
	case "-lt":
		return triOf(x < y)
	case "-le":
		return triOf(x <= y)
	case "-gt":
		return triOf(x > y)
	case "-ge":
		return triOf(x >= y)
	}
	return unsure
}

// menuArgs are a menuentry's options that take a value.
var menuArgs = map[string]bool{"--class": true, "--users": true, "--hotkey": true, "--id": true, "--source": true}

// menu adds a line of the menu. A submenu's body runs when it is opened, with a copy of the
// variables; an entry's commands are read, not run.
func (s *script) menu(n node) {
	it := item{submenu: n.name == "submenu", source: s.source}
	args := s.expand(n.words)
	for i := 0; i < len(args); i++ {
		a := args[i].value
		switch {
		case menuArgs[a]:
			if i++; a == "--id" && i < len(args) {
				it.id = args[i].value
			}
		case strings.HasPrefix(a, "--id="):
			it.id = a[len("--id="):]
		case strings.HasPrefix(a, "--"):
		case it.title == "":
			it.title = a
		}
	}
	if it.id == "" { // grub_normal_add_menu_entry: the title is the id where none is given
		it.id = it.title
	}
	if it.submenu {
		sub := *s
		sub.items, sub.vars = nil, cloneVars(s.vars)
		if sub.depth++; sub.depth <= maxCalls {
			sub.run(n.body)
		}
		s.steps, s.problems = sub.steps, sub.problems
		it.items = sub.items
	} else {
		s.bootCommands(n.body, &it)
	}
	s.items = append(s.items, it)
}

func cloneVars(m map[string]variable) map[string]variable {
	out := make(map[string]variable, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// bootCommands finds an entry's kernel and initramfs. Where they stand in branches (for
// Xen, or by platform) the first is taken.
func (s *script) bootCommands(nodes []node, it *item) {
	for _, n := range nodes {
		for _, a := range n.arms {
			s.bootCommands(a.body, it)
		}
		if n.name != "" || len(n.words) < 2 {
			continue
		}
		var args []string
		for _, a := range s.expand(n.words[1:]) {
			args = append(args, a.value)
		}
		if len(args) == 0 {
			continue
		}
		switch n.words[0].literal() {
		case "linux", "linux16", "linuxefi":
			if it.linux == "" {
				it.linux, it.option = args[0], strings.Join(args[1:], " ")
				it.release = releaseOf(path.Clean(args[0]))
			}
		case "initrd", "initrd16", "initrdefi":
			if it.initrd == "" {
				it.initrd = strings.Join(args, " ")
			}
		}
	}
}

// choose finds the line that a setting names, as get_entry_number of GRUB's
// grub-core/normal/menu.c does: by number, else by id or title; ">" goes into a submenu.
// Where nothing bears the name, GRUB takes the first line, and found is false.
func choose(items []item, spec string) (at []int, found, sure bool) {
	found, sure = true, true
	for len(items) > 0 {
		head, rest := cutPath(spec)
		i, ok := match(items, head)
		if !ok {
			i = 0
			found = found && head == ""
		}
		sure = sure && !doubtful(items, i, head)
		at = append(at, i)
		if !items[i].submenu {
			return at, found && (rest == "" || !ok), sure
		}
		items, spec = items[i].items, rest
	}
	return at, false, sure
}

// doubtful reports whether a line that may not be there makes the choice unsure: the line itself,
// or, where it is counted, one before it.
func doubtful(items []item, i int, head string) bool {
	if items[i].maybe {
		return true
	}
	if _, err := strconv.Atoi(head); err != nil && head != "" {
		return false
	}
	for _, it := range items[:i] {
		if it.maybe {
			return true
		}
	}
	return false
}

func match(items []item, head string) (int, bool) {
	if n, err := strconv.ParseInt(head, 0, 32); err == nil {
		return int(n), n >= 0 && int(n) < len(items)
	}
	for i, it := range items {
		if head != "" && (it.id == head || it.title == head) {
			return i, true
		}
	}
	return 0, false
}

// cutPath parts a submenu from what is in it; ">>" is a ">" of a title's own.
func cutPath(spec string) (head, rest string) {
	var out strings.Builder
	for i := 0; i < len(spec); i++ {
		if spec[i] == '>' {
			if !strings.HasPrefix(spec[i+1:], ">") {
				return out.String(), spec[i+1:]
			}
			i++
		}
		out.WriteByte(spec[i])
	}
	return out.String(), ""
}
