package cli

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	say := func(args ...string) (string, int, error) {
		var out bytes.Buffer
		status, err := run(t.Context(), append([]string{"version"}, args...), Env{Out: &out, Err: &bytes.Buffer{}, Getenv: func(string) string { return "" }})
		return out.String(), status, err
	}
	line, status, err := say()
	if status != exitOK || err != nil || !strings.HasPrefix(line, tool()) || strings.Count(line, "\n") != 1 {
		t.Errorf("%d, %v: %q", status, err, line)
	}
	text, _, err := say("-o", "json")
	var v versionOf
	if jerr := json.Unmarshal([]byte(text), &v); err != nil || jerr != nil || v.Version != Version || v.Go != runtime.Version() || v.Arch != runtime.GOARCH {
		t.Errorf("%v, %v: %s", err, jerr, text)
	}
	if text, status, err := say("-o", "yaml"); status != exitUsage || err == nil || !strings.Contains(hintText(err), "json") {
		t.Errorf("%d, %v: %s", status, err, text)
	}
}
