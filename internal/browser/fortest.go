package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a test may use a browser on a busy machine.
const patience = 5 * time.Minute

// ForTest is a browser for one test, and how long the test may use it. Where the machine
// has none the test is skipped, or fails where LASTGOOD_REQUIRE asks for all there is.
func ForTest(t testing.TB) (context.Context, *Browser) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser, which is no short test")
	}
	b, err := Start(t.TempDir())
	if errors.Is(err, ErrAbsent) {
		lacking(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(func() {
		cancel()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("chromium: %s", b.Said())
		}
	})
	return ctx, b
}

// AxeForTest is the script of axe-core, kept from run to run in the build folder of the
// module whose package is tested.
func AxeForTest(ctx context.Context, t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("../..") // of internal/NAME
	if err == nil {
		_, err = os.Stat(filepath.Join(root, "go.mod"))
	}
	if err != nil {
		t.Fatal(err)
	}
	script, err := FetchAxe(ctx, filepath.Join(root, ".build", "npm"))
	if errors.Is(err, exec.ErrNotFound) {
		lacking(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return script
}

func lacking(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("LASTGOOD_REQUIRE") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}
