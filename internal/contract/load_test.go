package contract

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lastgood/internal/source"
	"lastgood/internal/sysfs"
	"lastgood/internal/sysfs/sysfstest"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

const head = "apiVersion: lastgood.dev/v1\nkind: HostContract\nmetadata: {name: x}\n"

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"broken YAML":       {head + "checks: [\n", "[4:9] sequence end token ']' not found"},
		"tab":               {head + "checks:\n\t- id: a\n", "[5:1] found character"},
		"unknown key":       {head + "checks:\n  - id: a\n    mont: {path: /}\n", `[6:5] unknown field "mont"`},
		"unknown key below": {head + "checks:\n  - id: a\n    mount: {path: /, pth: /}\n", `[6:22] unknown field "pth"`},
		"unknown key above": {head + "check: []\n", `[4:1] unknown field "check"`},
		"duplicate key":     {head + "checks:\n  - id: a\n    id: b\n", `[6:5] mapping key "id" already defined at [5:5]`},
		"duplicate id":      {head + "checks:\n  - id: a\n    file: {path: /x}\n  - id: a\n    file: {path: /x}\n", "[7:5] there are two checks of the id a: the other is at f.yaml:5"},
		"empty list":        {head + "checks: []\n", "[1:1] the list of checks is empty"},
		"no list":           {head, "[1:1] the list of checks is empty"},
		"empty":             {"# nothing\n", "it is empty: nothing would be checked"},
		"nothing to check":  {head + "checks:\n  - id: a\n", "[5:5] check a: it says nothing to check"},
		"no id":             {head + "checks:\n  - file: {path: /x}\n", `[5:5] check : id "": want letters`},
		"wrong type":        {head + "checks:\n  - id: a\n    count: {glob: /x, at_least: many}\n", "[6:33] cannot unmarshal string into Go struct field"},
		"no unit of time":   {head + "checks:\n  - id: a\n    within: 90\n    file: {path: /x}\n", "[6:13] 90 is no duration"},
		"severity":          {head + "checks:\n  - id: a\n    severity: must\n    file: {path: /x}\n", `[5:5] check a: severity "must" is none of`},
		"transport":         {head + "checks:\n  - id: a\n    dns: {server: 127.0.0.1, name: a, transport: [upd]}\n", `[5:5] check a: dns: transport "upd" is none of udp, tcp`},
		"missing field":     {head + "checks:\n  - id: a\n    dns: {server: 127.0.0.1}\n", "[5:5] check a: dns: name is missing"},
		"bad server":        {head + "checks:\n  - id: a\n    dns: {server: localhost, name: a}\n", `[5:5] check a: dns: server "localhost" is no address`},
		"bad regexp":        {head + "checks:\n  - id: a\n    file: {path: /x, regexp: \"(\"}\n", "[5:5] check a: file: regexp: error parsing regexp"},
		"bad pattern":       {head + "checks:\n  - id: a\n    count: {glob: \"/x/[\"}\n", "[5:5] check a: count: syntax error in pattern"},
		"relative path":     {head + "checks:\n  - id: a\n    mount: {path: x}\n", `[5:5] check a: mount: "x" is no absolute path`},
		"empty command":     {head + "checks:\n  - id: a\n    exec: {command: []}\n", "[5:5] check a: exec: command is an empty list"},
		"alias":             {head + "checks:\n  - &a {id: a, file: {path: /x}}\n", "[5:5] anchors, aliases and tags are not taken"},
		"version":           {strings.Replace(head, "/v1", "/v9", 1) + "checks: []\n", `[1:1] apiVersion is "lastgood.dev/v9"`},
		"empty match":       {head + "match: {}\nchecks:\n  - id: a\n    file: {path: /x}\n", "[1:1] match is empty"},
		"deep":              {head + "checks: " + strings.Repeat("[", 5000), "[4:1] nested too deeply"},
		"large":             {head + strings.Repeat("#", maxFile), "larger than 65535 bytes"},
		"no mapping":        {"- a\n", "[1:1]"},
	} {
		_, err := Parse([]byte(c.text), "f.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v\nwant %s", name, err, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	all, err := Parse([]byte(head+"defaults: {within: 1m, severity: wanted}\nchecks:\n  - {id: a, file: {path: /x}}\n  - {id: b, severity: info, within: 5s, file: {path: /x}}\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	a, b := all[0].Checks[0], all[0].Checks[1]
	if a.Severity != Wanted || *a.Within != Duration(60e9) || a.OnRegression != "notify" || *a.Timeout != Duration(defaultTimeout) || b.Severity != Info || *b.Within != Duration(5e9) {
		t.Errorf("have %+v and %+v", a, b)
	}
}

// TestLoad reads what can be read and tells of the rest.
func TestLoad(t *testing.T) {
	good := func(name, id string) string {
		return strings.Replace(head, "name: x", "name: "+name, 1) + "checks:\n  - {id: " + id + ", file: {path: /x}}\n"
	}
	root := sysfs.New(&sysfstest.FS{Files: map[string]string{
		Folder + "/a.yaml": good("a", "one"), Folder + "/b.yml": "nope: [", Folder + "/c.yaml": good("c", "one"), Folder + "/d.yaml": good("d", "two"), Folder + "/README": "x"}})
	all, err := Load(t.Context(), root, Folder)
	if len(all) != 2 || all[0].Metadata.Name != "a" || all[1].Metadata.Name != "d" {
		t.Errorf("have %d contracts", len(all))
	}
	for _, want := range []string{"b.yml: [1:", "c.yaml: [5:", "there are two checks of the id one"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
	}
	if all, err := Load(t.Context(), sysfs.New(&sysfstest.FS{}), Folder); err != nil || len(all) != 0 {
		t.Errorf("without a folder: %v %v", all, err)
	}
}

func TestMatch(t *testing.T) {
	h := source.Host{Root: sysfs.New(&sysfstest.FS{Files: map[string]string{
		"/proc/sys/kernel/hostname": "storage1.lan\n", tagsFile: "osd rack7 # here\n", "/sys/class/dmi/id/product_name": "PowerEdge R740\n",
		"/etc/os-release": "ID=rocky\nID_LIKE=\"rhel fedora\"\n", "/var/lib/dpkg/info/libc6:amd64.list": "", "/usr/bin/pmxcfs": ""}})}
	for text, want := range map[string]bool{
		"hostname: ['storage*']": true, "hostname: [web1, storage1]": true, "hostname: [web*]": false,
		"tags: [osd]": true, "tags: [here]": false, "product: ['PowerEdge*']": true, "os: [rhel]": true, "os: [debian]": false,
		"package: [libc6]": true, "package: [libc]": false, "file_exists: [/usr/bin/pmx*]": true, "file_exists: [/none]": false,
		"{tags: [osd], os: [debian]}": false, "{tags: [osd], os: [rocky]}": true,
	} {
		all, err := Parse([]byte(head+"match: "+strings.Replace("{"+text+"}", "{{", "{", 1)+"\nchecks:\n  - {id: a, file: {path: /x}}\n"), "f")
		if strings.HasPrefix(text, "{") {
			all, err = Parse([]byte(head+"match: "+text+"\nchecks:\n  - {id: a, file: {path: /x}}\n"), "f")
		}
		if err != nil {
			t.Fatal(err)
		}
		if have, err := all[0].Matches(t.Context(), h); err != nil || have != want {
			t.Errorf("%s: have %v %v, want %v", text, have, err, want)
		}
	}
}

func TestSchemaIsCurrent(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("..", "..", "docs", "contract.schema.json")
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("docs/contract.schema.json is out of date; rewrite it with `go test ./internal/contract -run Schema -update`: %s", cmp.Diff(string(have), string(want)))
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range examples(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(head + "checks:\n  - {id: a, exec: {command: [x]}}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse(b, "f")
		if (err == nil) != (len(all) > 0) {
			t.Errorf("%d contracts and %v", len(all), err)
		}
		for _, c := range all {
			for _, k := range c.Checks {
				if k.Within == nil || k.Timeout == nil || *k.Timeout <= 0 || len(k.parts()) == 0 {
					t.Errorf("a check without a time or a kind: %+v", k)
				}
			}
		}
	})
}

func examples(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("../../deploy/contract.d/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	return names
}
