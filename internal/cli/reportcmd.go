package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/page"
	"lastgood/internal/report"
)

func reportCommand() command {
	return command{
		name: "report", summary: "print the report of the last check again, or write it as one page",
		long: `Prints what the last check of this host found, as it was kept; nothing is measured. With --html
it is written as one file for a browser instead: the verdict, the findings with their evidence,
and pictures of programs, kernels, hardware, temperatures and boots. The file needs nothing
beside it and runs no script, so that it can be kept with a ticket or sent to somebody.

The exit status is the verdict's, with --html 0 where the file was written:
` + exitStatuses,
		example: "lastgood report --html report.html",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			html := f.String("html", "", "write one HTML page to this file instead, whole or not at all; - is the standard output")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				format, err := s.format(report.Formats()...)
				if err = errors.Join(noArguments(args), err, s.ownState()); err != nil {
					return exitUsage, err
				}
				if *html == "" {
					return s.lastReport(format)
				}
				if s.output != "" {
					return exitUsage, hinted(errors.New("--html and --output: a page has one form"), "leave one of them out")
				}
				return s.htmlReport(ctx, *html)
			}
		},
	}
}

// lastReport prints the report of the newest check in a format.
func (s *session) lastReport(format string) (int, error) {
	rep, err := page.ReadReport(s.stateDir)
	if err != nil {
		return exitUsage, noReport(err)
	}
	return report.ExitStatus(format, rep), s.print(format, rep)
}

// htmlReport writes all that pages show of the newest check as one file.
func (s *session) htmlReport(ctx context.Context, name string) (int, error) {
	all, err := kinds()
	if err != nil {
		return exitUsage, err
	}
	boot, _ := s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id") // "" where it is not known: then nothing is said of it
	in, faults, err := page.Read(s.stateDir, boot, page.Given{Kinds: all, Version: Version, Now: time.Now()})
	if err != nil {
		return exitUsage, noReport(err)
	}
	n := page.Notice{Faults: faults}
	if now := in.Report.Current; now != nil {
		n.OtherBoot = boot != "" && now.BootID != "" && now.BootID != boot
	}
	b, err := page.File(in, n)
	if err != nil {
		return exitUsage, err
	}
	if name == "-" {
		_, err = s.env.Out.Write(b)
	} else {
		err = replaceFile(name, b)
	}
	if err != nil {
		return exitUsage, err
	}
	return exitOK, nil
}

// noReport says what to do where there is no report to print.
func noReport(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return hinted(errors.New("there is no report yet"), "`lastgood check` makes one")
	}
	return hinted(fmt.Errorf("read the last report: %w", err), "`lastgood check` makes a new one")
}
