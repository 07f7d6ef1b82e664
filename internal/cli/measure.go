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
// that the process was told of. A job of explaining needs nothing else.
func measured(input json.RawMessage) ([]source.Source, error) {
	from := sources()
	if len(input) == 0 {
		return from, nil
	}
	var in measureInput
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, fmt.Errorf("read objects to measure: %w", err)
	}
	if in.Explain != nil {
		src, err := probes.Explanations(*in.Explain)
		return []source.Source{src}, err
	}
	from = append(from, probes.Objects(in.Objects))
	if in.Surface {
		from = append(from, probes.Surface(in.Leaning))
	}
	return from, nil
}

// measureInput is what the measuring process is told besides its steps.
type measureInput struct {
	// Objects are those to measure; Leaning are all of this node's, also those of which it
	// is known what they measure, for what they lean on.
	Objects []loader.ObjectFile `json:"objects,omitempty"`
	Surface bool                `json:"surface,omitempty"`
	Leaning []loader.ObjectFile `json:"leaning,omitempty"`
	Explain *probes.ExplainJob  `json:"explain,omitempty"`
}

func (in *measureInput) encode() (json.RawMessage, error) { return json.Marshal(in) }
