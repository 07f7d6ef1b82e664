package cli

import (
	"context"
	"fmt"
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
		name: "version", summary: "print the version and what it was built from",
		long:    "Prints the version, the commit where it is known, and the Go version.",
		example: "lastgood version",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(_ context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				fmt.Fprintf(s.env.Out, "%s%s %s/%s %s\n", tool(), revision(), runtime.GOOS, runtime.GOARCH, runtime.Version())
				return exitOK, nil
			}
		},
	}
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			rev = " (" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", changed since"
		}
	}
	if rev == "" {
		return ""
	}
	return rev + dirty + ")"
}
