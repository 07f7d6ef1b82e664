package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contractFile writes a contract with the given checks.
func contractFile(t *testing.T, checks string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.yaml")
	text := "apiVersion: lastgood.dev/v1\nkind: HostContract\nmetadata: {name: test}\nchecks:\n" + checks
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestContractCheckExit(t *testing.T) {
	const met, gone, open = "  - {id: met, file: {path: /}}\n", "  - {id: gone, file: {path: /no/such/file}}\n", "  - {id: open, exec: {command: [no-such-program-here]}}\n"
	for _, c := range []struct {
		name, checks string
		exit         int
		says         string
	}{
		{"met", met, exitOK, "MET: 1 check, 1 met"},
		{"not met", met + gone + open, exitRegressed, "  not met   required  test/gone: /no/such/file is not there"},
		{"wanted", met + strings.Replace(gone, "id: gone", "id: gone, severity: wanted", 1), exitOK, "  not met   wanted    test/gone"},
		{"not told", met + open, exitIncomplete, "  not told  required  test/open: exec: run no-such-program-here: no such program on this host"},
		{"not due", strings.Replace(gone, "id: gone", "id: gone, within: 24h", 1), exitIncomplete, "  not due   required  test/gone"},
		{"broken", "  - {id: a, nope: {}}\n", exitUsage, `[5:13] unknown field "nope"`},
		{"empty", "  []\n", exitUsage, "the list of checks is empty"},
	} {
		var out, errs bytes.Buffer
		env := Env{Out: &out, Err: &errs, Getenv: func(string) string { return "" }}
		exit := Main([]string{"contract", "check", "--state-dir", t.TempDir(), contractFile(t, c.checks)}, env)
		if said := out.String() + errs.String(); exit != c.exit || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit %d, want %d; it says\n%s", c.name, exit, c.exit, said)
		}
	}
}

func TestContractWaitJSON(t *testing.T) {
	var out, errs bytes.Buffer
	env := Env{Out: &out, Err: &errs, Getenv: func(string) string { return "" }}
	file := contractFile(t, "  - {id: met, every: 100ms, stable_for: 200ms, file: {path: /}}\n")
	if exit := Main([]string{"contract", "check", "--wait", "-o", "json", "--state-dir", t.TempDir(), file}, env); exit != exitOK {
		t.Fatalf("exit %d: %s", exit, errs.String())
	}
	var doc struct {
		Checks []struct {
			ID, State string
			Tries     int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Checks) != 1 || doc.Checks[0].State != "pass" || doc.Checks[0].Tries < 2 {
		t.Errorf("have %+v", doc)
	}
}

// TestContractLearn: the draft of this host is a contract that this host meets.
func TestContractLearn(t *testing.T) {
	var draft, out, errs bytes.Buffer
	env := Env{Out: &draft, Err: &errs, Getenv: func(string) string { return "" }}
	if exit := Main([]string{"contract", "learn", "--name", "here"}, env); exit != exitOK {
		t.Fatalf("exit %d: %s", exit, errs.String())
	}
	file := filepath.Join(t.TempDir(), "draft.yaml")
	if err := os.WriteFile(file, draft.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	env.Out = &out
	if exit := Main([]string{"contract", "check", "--state-dir", t.TempDir(), file}, env); exit != exitOK {
		t.Errorf("exit %d\n%s\nof\n%s", exit, out.String(), draft.String())
	}
	for _, args := range [][]string{{"contract"}, {"contract", "what"}, {"contract", "schema", "x"}} {
		if exit := Main(args, env); exit != exitUsage {
			t.Errorf("%v: exit %d", args, exit)
		}
	}
}
