package export

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"lastgood/internal/report"
	"lastgood/loader"
)

// commands repeats the measurement with three tools. It only loads; what bpftool
// pins it removes again.
func (c *Case) commands() string {
	object, program := quote(FileName(c.ObjectName)), quote(c.Program)
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# Run as root in this folder. Programs are loaded, none is attached.\nset -eu\n")
	if len(c.Commands) > 0 {
		b.WriteString("\n# lastgood\n")
		for _, cmd := range c.Commands {
			b.WriteString(comment(cmd) + "\n")
		}
	}
	values, left := c.veristatValues()
	b.WriteString("\n# veristat: counters of this kernel, beside those recorded\n")
	for _, name := range left {
		b.WriteString("# not a number, so veristat is not given it: " + comment(name) + "\n")
	}
	fmt.Fprintf(&b, "veristat%s -o csv -f %s %s > here.csv\n", values, program, object)
	if c.Before != nil {
		b.WriteString("veristat -C before.csv now.csv\n")
	}
	b.WriteString("veristat -C now.csv here.csv\n# the whole listing of the verifier; may be hundreds of MB\n")
	fmt.Fprintf(&b, "# veristat%s -v -l 6 -f %s %s\n", values, program, object)
	b.WriteString("\n# bpftool: the verifier's own words on a rejection")
	if len(c.Values) > 0 {
		b.WriteString("; it cannot set variables, so the program is loaded with those of the object")
	}
	fmt.Fprintf(&b, "\n# bpftool -d prog loadall %s /sys/fs/bpf/repro && rm -r /sys/fs/bpf/repro\n", object)
	return b.String()
}

// veristatValues are the options that set the variables, and the names of those
// that veristat's -G has no way to write.
func (c *Case) veristatValues() (options string, left []string) {
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		var n json.Number
		if err := json.Unmarshal(c.Values[name], &n); err != nil || c.Values[name][0] == '"' {
			left = append(left, name)
			continue
		}
		options += " -G " + quote(name+"="+n.String())
	}
	return options, left
}

// quote makes s one word for a shell, on one line.
func quote(s string) string { return "'" + strings.ReplaceAll(comment(s), "'", `'\''`) + "'" }

// comment keeps s on its line.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '_'
		}
		return r
	}, s)
}

func (c *Case) readme() string {
	var b strings.Builder
	fmt.Fprintf(&b, "BPF program %s of %s\n\n", comment(c.Program), FileName(c.ObjectName))
	if c.Before != nil {
		fmt.Fprintf(&b, "before: %s\n", c.Before.sentence())
	}
	fmt.Fprintf(&b, "now:    %s\n", c.Now.sentence())
	if c.Before != nil && c.Before.Explanation != nil && c.Now.Explanation != nil {
		if s := report.GrowthSentence(loader.Compare(*c.Before.Explanation, *c.Now.Explanation)); s != "" {
			fmt.Fprintf(&b, "\n%s\n", s)
		}
	}
	b.WriteString("\nIn this folder:\n\n")
	row := func(name, what string) { fmt.Fprintf(&b, "  %-28s %s\n", name, what) }
	row(FileName(c.ObjectName), "the object, byte by byte as it was measured")
	if len(c.Values) > 0 {
		row(ValuesFile, "what its variables were set to before loading")
	}
	row("commands.sh", "how to repeat this")
	row("before.csv, now.csv", "the counters in veristat's format (veristat -C before.csv now.csv)")
	row("*.kernel.json", "which kernel, and the settings that verifier and JIT go by")
	row("explanation.txt", "which functions and source lines the insns go to")
	row("*.explanation.json", "the same with all numbers")
	b.WriteString("\nA side that is not known has no files. Nothing here names the machine")
	if len(c.Values) > 0 {
		b.WriteString(", but look at\n" + ValuesFile + " before you pass it on: a program's configuration may hold addresses of the host.\n")
	} else {
		b.WriteString(".\n")
	}
	return b.String()
}

// sentence is one side in a line.
func (s *Side) sentence() string {
	text := s.Identity.Kernel.Release
	if text == "" {
		text = "a kernel that did not say its release"
	}
	if v := s.Subject.Text("verdict"); v != "" {
		text += ", " + v
	} else {
		text += ", no verdict"
	}
	if n, ok := s.Subject.Attrs["insns_processed"].Number(); ok {
		text += fmt.Sprintf(", %.0f insns processed", n)
	}
	if cause := s.Subject.Text("cause"); cause != "" {
		text += ": " + cause
	}
	return comment(text)
}
