package cli

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// completionDir holds what the shells read.
const completionDir = "../../deploy/completion"

// formatsIn is where a command says which formats it has, where not in its own file.
var formatsIn = map[string]string{"watch": "watchprint.go"}

var formatCall = regexp.MustCompile(`\.format\((reportFormats\(\)|[^)]*)`)

// formatsOf are a command's output formats, read where it checks them: session.format takes
// them at the time of the call, and there is no other list of them.
func formatsOf(t *testing.T, name string) []string {
	t.Helper()
	file := formatsIn[name]
	if file == "" {
		file = name + ".go"
	}
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	m := formatCall.FindSubmatch(b)
	switch {
	case m == nil:
		return nil
	case strings.HasPrefix(string(m[1]), "reportFormats()"):
		return reportFormats()
	}
	var out []string
	for word := range strings.SplitSeq(string(m[1]), ",") {
		out = append(out, strings.Trim(word, ` "`))
	}
	return out
}

// Words that stand for what a shell finds out when it is asked.
const (
	someBoot   = "@boot"
	someKernel = "@kernel"
	someFile   = "@file"
	someDir    = "@dir"
)

// flagWords are the values of a flag: words, or one of those above.
func flagWords(f *pflag.Flag, formats []string) []string {
	switch f.Name {
	case "output":
		return formats
	case "fail-on":
		return []string{"critical", "warning"}
	case "accel":
		return []string{"auto", "kvm", "tcg"}
	case "phase":
		return []string{"early", "settled"}
	case "baseline":
		return []string{someBoot}
	case "against":
		return []string{someBoot, someKernel}
	case "good", "bad", "to":
		return []string{someKernel}
	case "config", "root", "values", "object":
		return []string{someFile}
	case "state-dir", "run-dir", "export":
		return []string{someDir}
	}
	return nil
}

// argumentWords are those of a command's arguments.
func argumentWords(c command) []string {
	switch {
	case c.name == "contract":
		return []string{"learn", "check", "schema", someFile}
	case c.name == "diff" || strings.Contains(c.args, "BOOT"):
		return []string{someBoot, someFile}
	case strings.Contains(c.args, "KERNEL"):
		return []string{someKernel, someFile}
	case c.args != "":
		return []string{someFile}
	}
	return nil
}

// completed is what the three shells are told of one command.
type completed struct {
	command
	words []string
	flags []completedFlag
}

type completedFlag struct {
	*pflag.Flag
	words []string
}

func (f completedFlag) takesValue() bool { return f.NoOptDefVal == "" }

func completion(t *testing.T) []completed {
	t.Helper()
	var out []completed
	for _, c := range shownCommands() {
		own, common := flagsOf(c)
		done := completed{command: c, words: argumentWords(c)}
		formats := formatsOf(t, c.name)
		for _, set := range []*pflag.FlagSet{own, common} {
			set.VisitAll(func(f *pflag.Flag) {
				if f.Hidden || f.Name == "output" && len(formats) == 0 {
					return
				}
				done.flags = append(done.flags, completedFlag{f, flagWords(f, formats)})
			})
		}
		out = append(out, done)
	}
	return out
}

// TestDocsCompletion keeps the shells' completion what the commands declare.
func TestDocsCompletion(t *testing.T) {
	all := completion(t)
	rewritten(t, completionDir, map[string]string{"lastgood.bash": bashScript(all), "_lastgood": zshScript(all), "lastgood.fish": fishScript(all)})
}

const generatedHead = "# Generated from the commands' own flags; see internal/cli/completion_test.go.\n"

// Asked of the tool itself, with a bound: completing must neither hang nor say anything.
const (
	bootLookup   = `timeout 2 lastgood list -o json 2>/dev/null | sed -n 's/.*"boot_id": *"\([^"]*\)".*/\1/p'`
	kernelLookup = `ls /lib/modules 2>/dev/null`
)

func bashScript(all []completed) string {
	var b strings.Builder
	b.WriteString("# shellcheck shell=bash\n" + generatedHead + `
_lastgood_boots() { printf 'last-good\ncurrent\n'; ` + bootLookup + `; }
_lastgood_kernels() { ` + kernelLookup + `; }

# _lastgood_words WORD...: those that begin like what is typed, and what @-words stand for.
_lastgood_words() {
  local w
  COMPREPLY=()
  for w in "$@"; do
    case $w in
    @boot) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$(_lastgood_boots)" -- "$cur") ;;
    @kernel) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$(_lastgood_kernels)" -- "$cur") ;;
    @file) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur") ;;
    @dir) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$cur") ;;
    *) [[ $w == "$cur"* ]] && COMPREPLY+=("$w") ;;
    esac
  done
}

_lastgood() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    _lastgood_words help`)
	for _, c := range all {
		b.WriteString(" " + c.name)
	}
	b.WriteString("\n    return 0\n  fi\n  # What is before an = is the flag that is completed.\n" +
		"  if [ \"$cur\" = = ]; then cur=; elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n  case $command:$prev in\n")
	for _, c := range all {
		for _, f := range c.flags {
			if !f.takesValue() {
				continue
			}
			pattern := c.name + ":--" + f.Name
			if f.Shorthand != "" {
				pattern += " | " + c.name + ":-" + f.Shorthand
			}
			fmt.Fprintf(&b, "  %s) _lastgood_words %s; return 0 ;;\n", pattern, strings.Join(f.words, " "))
		}
	}
	b.WriteString("  esac\n  case $command in\n  help) [ \"$COMP_CWORD\" -eq 2 ] && _lastgood_words")
	for _, c := range all {
		b.WriteString(" " + c.name)
	}
	b.WriteString(" ;;\n")
	for _, c := range all {
		var flags []string
		for _, f := range c.flags {
			flags = append(flags, "--"+f.Name)
		}
		fmt.Fprintf(&b, "  %s)\n    case $cur in\n    -*) _lastgood_words %s --help ;;\n    *) _lastgood_words %s ;;\n    esac\n    ;;\n",
			c.name, strings.Join(flags, " "), strings.Join(c.words, " "))
	}
	b.WriteString("  esac\n  return 0\n}\ncomplete -F _lastgood lastgood\n")
	return strings.ReplaceAll(b.String(), "_lastgood_words ;", "COMPREPLY=();")
}

// zshWord protects what _arguments and _describe take for their own.
func zshWord(s string) string {
	return strings.NewReplacer(`'`, `'\''`, `:`, `\:`, `[`, `\[`, `]`, `\]`, "`", "").Replace(s)
}

func zshAction(words []string) string {
	plain := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "@") })
	var parts []string
	if len(plain) > 0 {
		parts = append(parts, "compadd "+strings.Join(plain, " "))
	}
	for _, w := range words {
		if do := map[string]string{someBoot: "_lastgood_boots", someKernel: "_lastgood_kernels", someFile: "_files", someDir: "_files -/"}[w]; do != "" {
			parts = append(parts, do)
		}
	}
	if len(parts) == 0 {
		return " "
	}
	return "{" + strings.Join(parts, "; ") + "}"
}

func zshScript(all []completed) string {
	var b strings.Builder
	b.WriteString("#compdef lastgood\n" + generatedHead + "\n_lastgood_boots() {\n  compadd last-good current ${(f)\"$(" + bootLookup + ")\"}\n}\n\n_lastgood_kernels() {\n  compadd ${(f)\"$(" + kernelLookup + ")\"}\n}\n" + `
_lastgood() {
  local -a commands
  commands=(
`)
	for _, c := range all {
		fmt.Fprintf(&b, "    '%s:%s'\n", c.name, zshWord(c.summary))
	}
	b.WriteString("  )\n  if (( CURRENT == 2 )) || [[ $words[2] == help ]]; then\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "  %s)\n    _arguments -S", c.name)
		for _, f := range c.flags {
			_, usage := pflag.UnquoteUsage(f.Flag)
			value, equals := "", ""
			if f.takesValue() {
				equals, value = "=", ":"+f.Name+":"+zshAction(f.words)
			}
			fmt.Fprintf(&b, " \\\n      '--%s%s[%s]%s'", f.Name, equals, zshWord(usage), value)
			if f.Shorthand != "" {
				fmt.Fprintf(&b, " \\\n      '-%s[%s]%s'", f.Shorthand, zshWord(usage), value)
			}
		}
		if len(c.words) > 0 {
			fmt.Fprintf(&b, " \\\n      '*:argument:%s'", zshAction(c.words))
		}
		b.WriteString("\n    ;;\n")
	}
	b.WriteString("  esac\n}\n\n_lastgood \"$@\"\n")
	return b.String()
}

// fishQuote is a word for fish; a help's back quotes are left out.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "`", "").Replace(s) + "'"
}

// fishWords are the flags of complete for what may follow.
func fishWords(of []string) string {
	var list []string
	extra := " -f"
	for _, w := range of {
		switch w {
		case someBoot:
			list = append(list, "(__lastgood_boots)")
		case someKernel:
			list = append(list, "(__lastgood_kernels)")
		case someDir:
			list = append(list, "(__fish_complete_directories)")
		case someFile:
			extra = " -F"
		default:
			list = append(list, w)
		}
	}
	if len(list) > 0 {
		extra += " -a " + fishQuote(strings.Join(list, " "))
	}
	return extra
}

func fishScript(all []completed) string {
	var b strings.Builder
	b.WriteString(generatedHead + `
function __lastgood_boots
    printf 'last-good\ncurrent\n'
    ` + bootLookup + `
end
function __lastgood_kernels
    ` + kernelLookup + `
end
# The first word decides: contract has a word check of its own.
function __lastgood_is
    set -l typed (commandline -opc)
    if test (count $argv) -eq 0
        test (count $typed) -lt 2
    else
        test (count $typed) -ge 2; and test "$typed[2]" = "$argv[1]"
    end
end
complete -c lastgood -f
`)
	for _, c := range all {
		fmt.Fprintf(&b, "complete -c lastgood -n __lastgood_is -a %s -d %s\n", c.name, fishQuote(c.summary))
	}
	for _, c := range all {
		on := "complete -c lastgood -n " + fishQuote("__lastgood_is "+c.name)
		if len(c.words) > 0 {
			fmt.Fprintf(&b, "%s%s\n", on, fishWords(c.words))
		}
		for _, f := range c.flags {
			_, usage := pflag.UnquoteUsage(f.Flag)
			short := ""
			if f.Shorthand != "" {
				short = " -s " + f.Shorthand
			}
			value := ""
			if f.takesValue() {
				value = " -r" + fishWords(f.words)
			}
			fmt.Fprintf(&b, "%s%s -l %s%s -d %s\n", on, short, f.Name, value, fishQuote(usage))
		}
	}
	return b.String()
}
