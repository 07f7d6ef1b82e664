package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/baseline"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

func listCommand() command {
	return command{
		name: "list", summary: "list the boots that are remembered, with their verdicts",
		long:    "Lists the boots in the state folder, newest first, with their verdicts, and marks the last good one.",
		example: "lastgood list",
		setup: func(*pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return s.list(ctx)
			}
		},
	}
}

func (s *session) list(ctx context.Context) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	store, err := s.openStore(ctx)
	if err != nil {
		return exitUsage, err
	}
	entries, err := store.List()
	if err != nil && len(entries) == 0 {
		return exitUsage, err
	}
	if err != nil {
		printError(s.env.Err, err)
	}
	rows := make([]report.Row, len(entries))
	for i := range entries {
		rows[i] = row(&entries[i])
	}
	if err := s.warnDamaged(store); err != nil {
		return exitUsage, err
	}
	if format == "json" {
		return exitOK, s.listJSON(rows)
	}
	return exitOK, report.History(s.env.Out, rows, s.options())
}

func row(e *baseline.Entry) report.Row {
	r := report.Row{Taken: e.Taken, BootID: e.BootID, Release: e.Release, LastGood: e.LastGood, Current: e.Current}
	if e.Err != nil {
		r.Trouble = e.Err.Error()
	}
	if e.Result != nil {
		r.Verdict, r.Critical, r.Warning, r.Info = e.Result.Verdict, e.Result.Critical, e.Result.Warning, e.Result.Info
	}
	return r
}

// listedBoot is one line of `list -o json`.
type listedBoot struct {
	BootID   string           `json:"boot_id"`
	Taken    time.Time        `json:"taken,omitzero"`
	Release  string           `json:"release,omitempty"`
	Verdict  snapshot.Verdict `json:"verdict,omitempty"`
	Critical int              `json:"critical"`
	Warning  int              `json:"warning"`
	Info     int              `json:"info"`
	LastGood bool             `json:"last_good"`
	Current  bool             `json:"current"`
	Trouble  string           `json:"trouble,omitempty"`
}

func (s *session) listJSON(rows []report.Row) error {
	out := make([]listedBoot, len(rows))
	for i, r := range rows {
		out[i] = listedBoot{r.BootID, r.Taken, r.Release, r.Verdict, r.Critical, r.Warning, r.Info, r.LastGood, r.Current, r.Trouble}
	}
	enc := json.NewEncoder(s.env.Out)
	enc.SetIndent("", " ")
	return enc.Encode(out)
}
