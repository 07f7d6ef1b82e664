package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"lastgood/internal/contract"
	"lastgood/internal/report"
)

func contractCommand() command {
	return command{
		name: "contract", args: "learn | check | schema [FILE]...", summary: "write down what this host must have, and check it",
		long: `learn writes a draft of a contract from what is healthy on this host to the standard output.

check tries what the contracts in ` + contract.Folder + ` (or the FILEs) say, those that are for this host.
All checks run side by side and every failure is told. With --wait each is tried again until it has
held for its stable_for, or the time is over by which it must hold, counted from the kernel's start.

schema writes the JSON schema of a contract, for editors.

The exit status of check is 0 where every required check is met, 1 where one is not, 2 where a
contract cannot be read, 3 where one could not be told or its time has not come.`,
		example: "lastgood contract learn > storage.yaml\n  lastgood contract check --wait",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			c := &contractRun{}
			f.BoolVar(&c.wait, "wait", false, "check: try again until all hold, or their time is over")
			f.StringVar(&c.name, "name", "", "learn: `NAME` of the contract (default: host)")
			return c.run
		},
	}
}

// contractRun is one run of the command.
type contractRun struct {
	wait bool
	name string
}

func (c *contractRun) run(ctx context.Context, s *session, args []string) (int, error) {
	if len(args) == 0 {
		return exitUsage, hinted(errors.New("contract: say learn, check or schema"), "`lastgood contract --help` tells what they do")
	}
	if args[0] != "check" && len(args) > 1 {
		return exitUsage, noArguments(args[1:])
	}
	switch args[0] {
	case "learn":
		return c.learn(ctx, s)
	case "check":
		return c.check(ctx, s, args[1:])
	case "schema":
		b, err := contract.Schema()
		if err != nil {
			return exitUsage, err
		}
		return exitOK, writeAll(s.env.Out, string(b))
	}
	return exitUsage, hinted(fmt.Errorf("contract: no %q", args[0]), "there are learn, check and schema")
}

func writeAll(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// learnPatience bounds the look at the host.
const learnPatience = 20 * time.Second

func (c *contractRun) learn(ctx context.Context, s *session) (int, error) {
	ctx, stop := context.WithTimeout(ctx, learnPatience)
	defer stop()
	name := c.name
	if name == "" {
		name = "host"
	}
	text, err := contract.Learn(ctx, s.host(), name)
	if err != nil {
		return exitIncomplete, err
	}
	return exitOK, writeAll(s.env.Out, text)
}

// contracts are those of the files, all of which are meant, or those of the folder that are for this host.
func (c *contractRun) contracts(ctx context.Context, s *session, files []string) ([]contract.Contract, error) {
	if len(files) == 0 {
		all, err := contract.Load(ctx, s.root, contract.Folder)
		if err != nil {
			return nil, err
		}
		return contract.Applying(ctx, s.host(), all)
	}
	var all []contract.Contract
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read contract: %w", err)
		}
		some, err := contract.Parse(b, f)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, contract.Unique(all)
}

func (c *contractRun) check(ctx context.Context, s *session, files []string) (int, error) {
	format, err := s.format("table", "json")
	if err != nil {
		return exitUsage, err
	}
	all, err := c.contracts(ctx, s, files)
	if err != nil {
		return exitUsage, err
	}
	if len(all) == 0 {
		fmt.Fprintf(s.env.Err, "no contract in %s is for this host: nothing was checked\n", contract.Folder)
	}
	r := contract.Runner{Host: s.host(), Baseline: s.observedBefore(ctx)}
	if r.Self, err = os.Executable(); err != nil {
		return exitUsage, err
	}
	var results []contract.Result
	if c.wait {
		p := newSteps(s)
		results = r.Wait(ctx, all, func(res contract.Result) { p.show(res.ID, string(res.State)) })
		p.end()
	} else {
		results = r.Once(ctx, all)
	}
	if format == "json" {
		err = printResultsJSON(s.env.Out, results)
	} else {
		err = report.Checks(s.env.Out, checkRows(results), s.options())
	}
	return contractExit(results), err
}

// observedBefore is what the checks found at the last good boot: nothing where there is none, or it cannot be read.
func (s *session) observedBefore(ctx context.Context) map[string][]string {
	store, err := s.openStore(ctx)
	if err != nil {
		return nil
	}
	defer store.Close()
	snap, _, err := store.LastGood()
	if err != nil {
		return nil
	}
	return contract.Observed(snap)
}

// contractExit weighs required checks: what is known not to be met is worse than what could not be told.
func contractExit(results []contract.Result) int {
	status := exitOK
	for _, r := range results {
		switch {
		case r.Severity != contract.Required || r.State == contract.Pass:
		case r.State == contract.Fail:
			return exitRegressed
		default:
			status = exitIncomplete
		}
	}
	return status
}

// checkRows are the results in the words of a table.
func checkRows(results []contract.Result) []report.CheckResult {
	words := map[contract.State]report.CheckState{contract.Pass: report.Met, contract.Fail: report.NotMet, contract.Pending: report.NotDue, contract.Unknown: report.NotTold}
	var rows []report.CheckResult
	for _, r := range results {
		rows = append(rows, report.CheckResult{Name: r.Contract + "/" + r.ID, Required: r.Severity == contract.Required, State: words[r.State], Why: r.Why})
	}
	return rows
}

// resultJSON is a result as machines read it.
type resultJSON struct {
	Contract     string         `json:"contract"`
	ID           string         `json:"id"`
	Check        string         `json:"check"`
	Severity     string         `json:"severity"`
	OnRegression string         `json:"on_regression"`
	State        contract.State `json:"state"`
	Why          string         `json:"why,omitempty"`
	Observed     []string       `json:"observed,omitempty"`
	Tries        int            `json:"tries"`
	TookSeconds  float64        `json:"took_seconds"`
}

func printResultsJSON(w io.Writer, results []contract.Result) error {
	out := []resultJSON{}
	for _, r := range results {
		out = append(out, resultJSON{r.Contract, r.ID, r.Types, r.Severity, r.OnRegression, r.State, r.Why, r.Observed, r.Tries, r.Took.Seconds()})
	}
	b, err := json.MarshalIndent(map[string]any{"schema": "lastgood.contract-result/v1", "checks": out}, "", "  ")
	if err != nil {
		return err
	}
	return writeAll(w, string(b)+"\n")
}
