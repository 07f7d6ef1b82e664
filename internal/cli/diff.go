package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/report"
)

func diffCommand() command {
	return command{
		name: "diff", args: "A B", summary: "compare two snapshots",
		long: `Judges snapshot B against snapshot A as ` + "`check`" + ` judges a boot against the last good one.
Each is a file, a boot id or the beginning of one, a kernel release, last-good or current.
Two files in veristat's CSV, its own or those of ` + "`lastgood probe -o csv`" + `, are compared by the
rules for programs of objects.

The exit status is the verdict:
` + exitStatuses,
		example: "lastgood diff 6.12.74 6.12.86",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			failOn := f.String("fail-on", "", "least `SEVERITY` that fails: critical or warning (default: of the configuration, critical)")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				return s.diff(ctx, args, *failOn)
			}
		},
	}
}

func (s *session) diff(ctx context.Context, args []string, failOn string) (int, error) {
	start := time.Now()
	if len(args) != 2 {
		return exitUsage, hinted(fmt.Errorf("diff wants two snapshots, got %d", len(args)), "for instance `lastgood diff last-good current`")
	}
	format, err := s.format(reportFormats()...)
	if err != nil {
		return exitUsage, err
	}
	all, policy, err := s.rules(failOn)
	if err != nil {
		return exitUsage, err
	}
	a, b, notes, err := s.loadTwo(ctx, args[0], args[1])
	if err != nil {
		return exitUsage, err
	}
	rep := newReport(b)
	rep.Two = true
	judge(rep, a, b, all, policy)
	rep.Notes = append(rep.Notes, notes...)
	rep.Summary = summary(rep)
	rep.TookSeconds = time.Since(start).Seconds()
	return report.ExitStatus(format, rep), s.print(format, rep)
}
