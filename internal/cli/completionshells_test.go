package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletionInBash asks bash for what it would offer, with a lastgood that lists two boots, and
// with one that fails and says so.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		if os.Getenv("LASTGOOD_REQUIRE") != "" {
			t.Fatal("bash is not installed (package bash)")
		}
		t.Skip("bash is not installed (package bash)")
	}
	script, err := filepath.Abs(filepath.Join(completionDir, "lastgood.bash"))
	if err != nil {
		t.Fatal(err)
	}
	lists := "#!/bin/sh\nprintf '[\\n {\\n  \"boot_id\": \"0123abcd\"\\n },\\n {\\n  \"boot_id\": \"0456ef\"\\n }\\n]\\n'\n"
	fails := "#!/bin/sh\necho broken >&2\nexit 2\n"
	for _, c := range []struct{ name, tool, typed, want string }{
		{"commands", fails, "lastgood pre", "preflight"},
		{"help", fails, "lastgood help dec", "decide"},
		{"flags", fails, "lastgood check --fa", "--fail-on"},
		{"formats", fails, "lastgood check -o na", "nagios"},
		{"formats of another", fails, "lastgood probe -o cs", "csv"},
		{"after =", fails, "lastgood check --output = na", "nagios"},
		{"levels", fails, "lastgood check --fail-on w", "warning"},
		{"boots", lists, "lastgood show 0", "0123abcd 0456ef"},
		{"boots by name", lists, "lastgood diff 0123abcd last", "last-good"},
		{"silent", fails, "lastgood accept c", "current"},
		{"no words", fails, "lastgood check x", ""},
		{"no such command", fails, "lastgood nonsense x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "lastgood"), []byte(c.tool), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bash, "--norc", "-c", `. "$1"; read -ra COMP_WORDS <<<"$2"; COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _lastgood; echo "${COMPREPLY[*]}"`, "bash", script, c.typed)
			cmd.Dir = t.TempDir() // empty: no files are offered
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if have := strings.TrimSpace(string(out)); err != nil || have != c.want {
				t.Errorf("%q offers %q, %v; want %q", c.typed, have, err, c.want)
			}
		})
	}
}

// TestCompletionParses: each shell that is here takes its file.
func TestCompletionParses(t *testing.T) {
	for shell, file := range map[string]string{"bash": "lastgood.bash", "zsh": "_lastgood", "fish": "lastgood.fish"} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				if os.Getenv("LASTGOOD_REQUIRE") != "" {
					t.Fatalf("%s is not installed (package %s)", shell, shell)
				}
				t.Skipf("%s is not installed (package %s)", shell, shell)
			}
			if out, err := exec.Command(path, "-n", filepath.Join(completionDir, file)).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v %s", file, err, out)
			}
		})
	}
}
