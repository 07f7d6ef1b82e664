package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shipped is the file that the packages lay down at DefaultPath.
const shipped = "../../deploy/package/lastgood.yaml"

// settings are the lines of the shipped file that begin with # and no space, without it;
// examples those that begin with ##. A key at the top is in one document each.
func shippedLines(t *testing.T) (settings, examples string) {
	t.Helper()
	b, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "## "); ok {
			examples += text
		} else if text, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(text, " ") || strings.HasPrefix(text, "  ") {
			settings += text
		} else if !ok && strings.TrimSpace(line) != "" {
			t.Errorf("a line that is no comment: %s", line)
		}
	}
	return settings, examples
}

// TestShippedFile: as it is laid down, and with every setting's # taken away, it says what no
// file at all says.
func TestShippedFile(t *testing.T) {
	asIs, err := Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(), asIs); d != "" {
		t.Errorf("the file as it is (-default +file):\n%s", d)
	}
	settings, _ := shippedLines(t)
	have, err := Parse([]byte(settings), "settings")
	if err != nil {
		t.Fatal(err)
	}
	if have.Gate.Hold == nil || !slices.Equal(*have.Gate.Hold, heldUnits) || have.Notify.MOTD == nil || !*have.Notify.MOTD || have.Notify.Least != "info" {
		t.Errorf("hold, motd or least is not at its default: %+v, %+v", have.Gate.Hold, have.Notify)
	}
	// These three are their default where they are not set.
	have.Gate.Hold, have.Notify.MOTD, have.Notify.Least = nil, nil, Default().Notify.Least
	if d := cmp.Diff(Default(), have, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("with every # taken away (-default +file):\n%s", d)
	}
}

// TestShippedFileNamesEveryKey: and its examples are read.
func TestShippedFileNamesEveryKey(t *testing.T) {
	settings, examples := shippedLines(t)
	parsed, err := Parse([]byte(examples), "examples")
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Rules) == 0 || parsed.Workloads == nil || parsed.Notify.Mail == nil || parsed.Intended.Arch == "" {
		t.Errorf("examples were lost: %+v", parsed)
	}
	var set, shown map[string]any
	for text, into := range map[string]*map[string]any{settings: &set, examples: &shown} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range yamlKeys(reflect.TypeFor[Config](), "") {
		if !stands(set, key) && !stands(shown, key) {
			t.Errorf("%s names no %s", shipped, strings.Join(key, "."))
		}
	}
}

// yamlKeys are the paths of all keys of a type; those of an entry of a list or map have * before.
func yamlKeys(t reflect.Type, above string) [][]string {
	switch t.Kind() {
	case reflect.Pointer:
		return yamlKeys(t.Elem(), above)
	case reflect.Slice, reflect.Map:
		return yamlKeys(t.Elem(), above+" *")
	case reflect.Struct:
	default:
		return nil
	}
	var out [][]string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, strings.Fields(above+" "+name))
		out = append(out, yamlKeys(t.Field(i).Type, above+" "+name)...)
	}
	return out
}

// stands reports whether a document has something at a path.
func stands(in any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch v := in.(type) {
	case map[string]any:
		if path[0] == "*" {
			for _, below := range v {
				if stands(below, path[1:]) {
					return true
				}
			}
			return false
		}
		below, ok := v[path[0]]
		return ok && stands(below, path[1:])
	case []any:
		return path[0] == "*" && slices.ContainsFunc(v, func(e any) bool { return stands(e, path[1:]) })
	}
	return false
}
