package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratorFailsOpen: whatever becomes of lastgood at boot, systemd is told that all is well, and no unit waits for what is not there.
func TestGeneratorFailsOpen(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(unitsDir, "lastgood-generator"))
	if err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{
		"not installed":         "",
		"crashes":               "#!/bin/sh\nkill -SEGV $$\n",
		"refuses":               "#!/bin/sh\necho 'read configuration: [3:1] unknown field' >&2\nexit 2\n",
		"is of another machine": "\x7fELF no program",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			binary, out := filepath.Join(dir, "lastgood"), filepath.Join(dir, "generator")
			if err := os.Mkdir(out, 0o755); err != nil {
				t.Fatal(err)
			}
			if program != "" {
				if err := os.WriteFile(binary, []byte(program), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			script := filepath.Join(dir, "lastgood-generator")
			text := strings.ReplaceAll(string(b), "/usr/bin/lastgood", binary)
			if text == string(b) {
				t.Fatal("it does not run /usr/bin/lastgood")
			}
			if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			if said, err := exec.Command(script, out, out, out).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
			if made, err := os.ReadDir(out); err != nil || len(made) > 0 {
				t.Errorf("it made %v, %v", made, err)
			}
		})
	}
}
