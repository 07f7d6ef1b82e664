package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/pflag"

	"lastgood/internal/collect"
	"lastgood/internal/source"
	"lastgood/loader"
	"lastgood/probes"
)

// measureCommand is the child process that loads programs; collect starts it.
func measureCommand() command {
	return command{
		name: collect.MeasureCommand, hidden: true, summary: "load programs for a check",
		long:    "Started by lastgood itself: reads what to measure and writes what it measured.",
		example: "lastgood check",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, _ []string) (int, error) {
				if err := collect.Measure(ctx, s.host(), measured, s.env.In, s.env.Out); err != nil {
					return exitUsage, err
				}
				return exitOK, nil
			}
		},
	}
}

// measured are the sources that load programs: those that are built in, and the objects
// that the process was told of. A list is of objects to measure; a JSON object is a job
// of explaining, which needs nothing else.
func measured(input json.RawMessage) ([]source.Source, error) {
	if len(input) > 0 && input[0] == '{' {
		var job probes.ExplainJob
		if err := json.Unmarshal(input, &job); err != nil {
			return nil, fmt.Errorf("read programs to explain: %w", err)
		}
		src, err := probes.Explanations(job)
		return []source.Source{src}, err
	}
	from := sources()
	if len(input) == 0 {
		return from, nil
	}
	var files []loader.ObjectFile
	if err := json.Unmarshal(input, &files); err != nil {
		return nil, fmt.Errorf("read objects to measure: %w", err)
	}
	return append(from, probes.Objects(files)), nil
}
