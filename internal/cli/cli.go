// Package cli is the command line: one file per command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"lastgood/internal/report"
	"lastgood/internal/sysfs"
)

// Exit statuses that are no verdict's.
const (
	exitOK         = 0
	exitRegressed  = 1
	exitUsage      = 2
	exitIncomplete = 3
)

// Env is the world of a command: what it reads, writes and knows of its terminal.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	OutTTY   bool             // the output is a terminal
	ErrTTY   bool             // the error output is a terminal
	Width    int              // columns of the output, 0 where not known
	ErrWidth int              // columns of the error output, 0 where not known
	Now      func() time.Time // the clock that is written down; nil is the system's. No boot is ordered by it

	openTree func(name string) (*sysfs.Root, error) // opens a recorded host, nil: sysfs.OpenTree
}

// clock is what time it is, by the host's clock.
func (e *Env) clock() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}

// OS is the world of this process.
func OS() Env {
	e := Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	e.OutTTY = term.IsTerminal(int(os.Stdout.Fd()))
	e.ErrTTY = term.IsTerminal(int(os.Stderr.Fd()))
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		e.Width = w
	}
	if w, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil {
		e.ErrWidth = w
	}
	return e
}

// command is one subcommand.
type command struct {
	name    string
	args    string // how its arguments are written
	summary string // one line
	long    string // what it does, for --help
	status  string // what its exit status means, where long does not say so and it is not the usual
	example string // a line to type
	hidden  bool
	// anyConfig: it does its work, or says what is wrong, where the configuration cannot be read; the defaults stand in for it.
	anyConfig bool
	// flags adds the command's own flags and gives what runs it.
	setup func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error)
}

// commands lists them in the order of a day's work.
func commands() []command {
	return []command{checkCommand(), snapshotCommand(), diffCommand(), acceptCommand(), listCommand(), showCommand(), reportCommand(),
		probeCommand(), inventoryCommand(), recordCommand(), watchCommand(), contractCommand(), preflightCommand(), bisectCommand(),
		gateCommand(), releaseCommand(), rollbackCommand(), tryCommand(), blessCommand(), decideCommand(), notifyCommand(), serveCommand(), doctorCommand(),
		versionCommand(), measureCommand(), labCommand(), guestCommand(), assessCommand(), generatorCommand(), intentCommand()}
}

// Main runs the command that args name and returns the exit status. SIGINT and
// SIGTERM end it in order.
func Main(args []string, env Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, err := run(ctx, args, env)
	if err != nil {
		printError(env.Err, err)
	}
	return status
}

// run is Main without the signals; its error is not printed yet.
func run(ctx context.Context, args []string, env Env) (int, error) {
	if len(args) == 0 {
		fmt.Fprint(env.Err, overview(env.helpWidth()))
		return exitUsage, nil
	}
	switch args[0] {
	case "help", "--help", "-h":
		if len(args) > 1 {
			return run(ctx, []string{args[1], "--help"}, env)
		}
		fmt.Fprint(env.Out, overview(env.helpWidth()))
		return exitOK, nil
	case "--version":
		args = []string{"version"}
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return runCommand(ctx, c, args[1:], env)
		}
	}
	var names []string
	for _, c := range commands() {
		if !c.hidden {
			names = append(names, c.name)
		}
	}
	return exitUsage, hinted(fmt.Errorf("no command %q", args[0]), "%s`lastgood help` lists the commands", meant(args[0], names))
}

func runCommand(ctx context.Context, c command, args []string, env Env) (int, error) {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard)
	do := c.setup(flags)
	s := &session{env: env, anyConfig: c.anyConfig}
	s.commonFlags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(env.Out, usage(c, flags, env.helpWidth()))
			return exitOK, nil
		}
		return exitUsage, hinted(err, "%s`lastgood %s --help` lists its flags", meantFlag(err, flags), c.name)
	}
	if err := s.prepare(flags); err != nil {
		return exitUsage, err
	}
	status, err := do(ctx, s, flags.Args())
	var surplus *argumentError
	if errors.As(err, &surplus) && hintOf(err) == "" {
		err = hinted(err, "`lastgood %s --help` tells what it takes", c.name)
	}
	return status, err
}

// hintError is an error with a way out.
type hintError struct {
	error
	hint string
}

func (e *hintError) Hint() string  { return e.hint }
func (e *hintError) Unwrap() error { return e.error }

func hinted(err error, format string, args ...any) error {
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// printError writes an error and, on a line of its own, the way out where there is one.
// Errors that were joined have a line each.
func printError(w io.Writer, err error) {
	for line := range strings.SplitSeq(strings.TrimRight(report.Clean(err.Error()), " \n"), "\n") {
		fmt.Fprintf(w, "lastgood: %s\n", line)
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", report.Clean(hint))
	}
}

// hintOf is an error's way out, "" where none is known.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	if errors.Is(err, fs.ErrPermission) && userID() != 0 {
		return "run it as root"
	}
	return ""
}

// newLogger writes warnings, and with verbose more, to the error output.
func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelError
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}
