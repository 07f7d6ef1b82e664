package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// mentions are the command lines that a text names: in back quotes, in a program's or a
// unit's file, or after a prompt in a block of code.
var mentions = []*regexp.Regexp{
	regexp.MustCompile("`(?:[a-z/]*/)?lastgood ([^`\n]*)`"),
	regexp.MustCompile(`(?m)^(?:Exec[A-Za-z]+=[-+!@:]*|[ \t]*(?:# |\$ |sudo )?)(?:/[a-z/]*/)?lastgood (.*)$`),
}

// TestMentionedCommands: every command line that a message, a hint, a unit or a document
// names has a command that there is, and flags that it has.
func TestMentionedCommands(t *testing.T) {
	sets := map[string]*pflag.FlagSet{}
	for _, c := range commands() {
		own, common := flagsOf(c)
		own.AddFlagSet(common)
		sets[c.name] = own
	}
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == ".build" || name == "testdata" || name == "man" || name == "completion" {
				return filepath.SkipDir // what is generated is held by other tests
			}
			return nil
		}
		if !mentioning(path) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := string(b)
		for i, m := range mentions {
			if i == 1 && strings.HasSuffix(path, ".go") {
				continue // there a line may begin with the word
			}
			if i == 1 && strings.HasSuffix(path, ".md") {
				text = fenced(text)
			}
			for _, at := range m.FindAllStringSubmatch(text, -1) {
				found++
				if why := unknownIn(at[1], sets); why != "" {
					t.Errorf("%s: %q: %s", path, at[0], why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("only %d command lines were found", found)
	}
}

// fenced are the blocks of code of a document.
func fenced(text string) string {
	var out []string
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			out = append(out, part)
		}
	}
	return strings.Join(out, "\n")
}

func mentioning(path string) bool {
	switch filepath.Ext(path) {
	case ".go":
		return !strings.HasSuffix(path, "_test.go")
	case ".md", ".service", ".timer", ".yaml", ".yml", ".conf", ".sh":
		return true
	}
	return strings.Contains(path, "deploy"+string(filepath.Separator)) && filepath.Ext(path) == ""
}

// unknownIn says what of a command line there is not; "" where all is.
func unknownIn(line string, sets map[string]*pflag.FlagSet) string {
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	name := strings.TrimRight(words[0], ".,;:")
	if strings.HasPrefix(name, "-") || strings.HasPrefix(name, "%") || name == "help" || name == "COMMAND" || name == "…" {
		return ""
	}
	set := sets[name]
	if set == nil {
		return "there is no command " + name
	}
	for _, w := range words[1:] {
		if strings.ContainsAny(w[:1], "|>#&;\\") {
			break // the shell's, and what comes behind is another program's
		}
		if why := unknownFlag(strings.TrimRight(w, ".,;:)]"), set); why != "" {
			return why
		}
	}
	return ""
}

func unknownFlag(word string, set *pflag.FlagSet) string {
	word, _, _ = strings.Cut(strings.TrimLeft(word, "[("), "=")
	switch {
	case word == "--help" || word == "-" || word == "--":
	case strings.HasPrefix(word, "--"):
		if set.Lookup(word[2:]) == nil {
			return "there is no flag " + word
		}
	case strings.HasPrefix(word, "-") && len(word) == 2:
		if set.ShorthandLookup(word[1:]) == nil {
			return "there is no flag " + word
		}
	}
	return ""
}

// TestUnknownMentions: the test above sees what is wrong.
func TestUnknownMentions(t *testing.T) {
	c := checkCommand()
	own, common := flagsOf(c)
	own.AddFlagSet(common)
	sets := map[string]*pflag.FlagSet{"check": own}
	for line, wrong := range map[string]bool{
		"check": false, "check -v": false, "check --fail-on=warning -o json | jq --slurp .": false, "check --no-such": true, "chekc": true, "check -x": true, "COMMAND --help": false, "check.": false,
	} {
		if why := unknownIn(line, sets); (why != "") != wrong {
			t.Errorf("%q: %q", line, why)
		}
	}
}
