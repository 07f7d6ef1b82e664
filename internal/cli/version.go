package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"
)

// Version is the release, set at link time: -ldflags "-X lastgood/internal/cli.Version=1.2.3".
var Version = "0.1.0-dev"

// tool is what a snapshot says of its maker.
func tool() string { return "lastgood " + Version }

func versionCommand() command {
	return command{
		anyConfig: true,
		name:      "version", summary: "print the version and what it was built from",
		long:    "Prints the version, the commit where it is known, and the Go version; -o json gives them as an object.",
		example: "lastgood version -o json | jq -r .version",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(_ context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				format, err := s.format("table", "json")
				if err != nil {
					return exitUsage, err
				}
				return exitOK, printVersion(s.env.Out, format)
			}
		},
	}
}

// versionOf is what the command says as JSON.
type versionOf struct {
	Version string `json:"version"`
	// Revision is the commit, "" where it is not known; Modified says that the sources were changed since.
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Go       string `json:"go"`
}

func printVersion(w io.Writer, format string) error {
	v := versionOf{Version: Version, OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
	v.Revision, v.Modified = revision()
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	commit := ""
	if len(v.Revision) >= 12 {
		commit = " (" + v.Revision[:12] + map[bool]string{true: ", changed since"}[v.Modified] + ")"
	}
	_, err := fmt.Fprintf(w, "%s%s %s/%s %s\n", tool(), commit, v.OS, v.Arch, v.Go)
	return err
}

// revision is the commit that the binary was built from, where it is known.
func revision() (commit string, modified bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}
