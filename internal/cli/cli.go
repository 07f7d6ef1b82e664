// Package cli is the command line: one file per command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/term"
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
	OutTTY   bool // the output is a terminal
	ErrTTY   bool // the error output is a terminal
	Width    int  // columns, 0 where not known
}

// OS is the world of this process.
func OS() Env {
	e := Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	e.OutTTY = term.IsTerminal(int(os.Stdout.Fd()))
	e.ErrTTY = term.IsTerminal(int(os.Stderr.Fd()))
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		e.Width = w
	}
	return e
}

// command is one subcommand.
type command struct {
	name    string
	args    string // how its arguments are written
	summary string // one line
	long    string // what it does, for --help
	example string // a line to type
	hidden  bool
	// flags adds the command's own flags and gives what runs it.
	setup func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error)
}

// commands lists them in the order of a day's work.
func commands() []command {
	return []command{checkCommand(), snapshotCommand(), diffCommand(), acceptCommand(), listCommand(), showCommand(),
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
		fmt.Fprint(env.Err, overview())
		return exitUsage, nil
	}
	switch args[0] {
	case "help", "--help", "-h":
		if len(args) > 1 {
			return run(ctx, []string{args[1], "--help"}, env)
		}
		fmt.Fprint(env.Out, overview())
		return exitOK, nil
	case "--version":
		args = []string{"version"}
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return runCommand(ctx, c, args[1:], env)
		}
	}
	return exitUsage, hinted(fmt.Errorf("no command %q", args[0]), "`lastgood help` lists the commands")
}

func runCommand(ctx context.Context, c command, args []string, env Env) (int, error) {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard)
	do := c.setup(flags)
	s := &session{env: env}
	s.commonFlags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(env.Out, usage(c, flags))
			return exitOK, nil
		}
		return exitUsage, hinted(err, "`lastgood %s --help` lists its flags", c.name)
	}
	if err := s.prepare(flags); err != nil {
		return exitUsage, err
	}
	return do(ctx, s, flags.Args())
}

func overview() string {
	var b strings.Builder
	b.WriteString("lastgood: did this box come back the same way it went down?\n\n" +
		"Usage:\n  lastgood COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands() {
		if !c.hidden {
			fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
		}
	}
	b.WriteString("\nExit status:\n" + exitStatuses +
		"\nExample, after a reboot:\n  lastgood check\n\n`lastgood COMMAND --help` tells more of each.\n")
	return b.String()
}

// exitStatuses are those of check and diff.
const exitStatuses = `  0  good, or learned: nothing to compare with yet
  1  regressed
  2  usage or internal error
  3  incomplete: something could not be measured or compared; this is never taken for a regression
  4  invalid: not the architecture or kernel that was meant
With -o nagios and -o npd the status is what those callers expect.
`

func usage(c command, flags *pflag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  lastgood %s\n\n%s\n\nFlags:\n%s\nExample:\n  %s\n",
		strings.ToUpper(c.summary[:1])+c.summary[1:]+".", strings.TrimSpace(c.name+" "+c.args)+" [flags]",
		strings.TrimSpace(c.long), flags.FlagUsagesWrapped(100), c.example)
	return b.String()
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
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "lastgood: %v\n", err)
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(w, "hint: %s\n", h.Hint())
	}
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
