package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"lastgood/internal/compare"
	"lastgood/internal/report"
	"lastgood/internal/serve"
	"lastgood/internal/snapshot"
)

func serveCommand() command {
	return command{
		name: "serve", summary: "answer over HTTP with the last result: metrics, JSON, a page",
		long: `Reads the state folder, loads nothing and needs no privilege: any user that may read the
folder can run it. It looks for new results each second; where a file is damaged it serves the
last good read and says so. Sockets that systemd passes are taken before --web.listen-address.

  /metrics                  Prometheus' text format, or OpenMetrics
  /-/healthy  /-/ready      the server looks at the folder; there is a result
  /api/v1/report            the last check
  /api/v1/snapshots         the history; /api/v1/snapshots/ID is one snapshot
  /api/v1/diff?from=&to=    one snapshot judged against another one
  /                         the page: verdict, findings, pictures; it names the others
  /diff                     two boots side by side, for a person`,
		example: "lastgood serve --web.listen-address 127.0.0.1:9878",
		setup: func(f *pflag.FlagSet) func(context.Context, *session, []string) (int, error) {
			address := f.String("web.listen-address", serve.DefaultAddress, "`ADDRESS` to listen at, where systemd passes no socket")
			config := f.String("web.config.file", "", "`FILE` of TLS and users, in the form of Prometheus' exporters")
			hosts := f.StringArray("web.host", nil, "`NAME` that may be asked for on the loopback, beside localhost and this host's own; may be given again")
			return func(ctx context.Context, s *session, args []string) (int, error) {
				if err := noArguments(args); err != nil {
					return exitUsage, err
				}
				return s.serve(ctx, *address, *config, *hosts)
			}
		},
	}
}

// bootIDVariable is what lastgood-serve.service says this boot's id in. Without it the time
// of the boot stands in, which a clock that was set since makes wrong.
const bootIDVariable = "LASTGOOD_BOOT_ID"

// dashed is systemd's form of an id (sd-id128(3), 32 digits) in the kernel's, and "" where
// it is neither.
func dashed(id string) string {
	id = strings.ReplaceAll(id, "-", "")
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
}

// Bounds on a server's memory. It holds a few megabytes: half as much again may be waste,
// and from serveMemory on that is given back sooner, for a thousand clients at once must not
// leave ten times as much behind.
const (
	serveMemory = 32 << 20
	serveWaste  = 50 // percent, as GOGC
	serveProcs  = 4
)

func (s *session) serve(ctx context.Context, address, config string, hosts []string) (int, error) {
	if err := errors.Join(s.ownState(), serve.CheckConfig(config)); err != nil {
		return exitUsage, err
	}
	all, policy, err := s.rules("")
	if err != nil {
		return exitUsage, err
	}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	listeners, err := serve.Listeners(address)
	if err != nil {
		return exitUsage, hinted(err, "name a free one with --web.listen-address")
	}
	for _, l := range listeners {
		fmt.Fprintf(s.env.Err, "lastgood: serving %s at %s\n", s.stateDir, l.Addr())
	}
	bootID, err := s.root.Attr(ctx, "/proc/sys/kernel/random/boot_id")
	if err != nil { // lastgood-serve.service hides /proc/sys from it (ProcSubset=pid)
		bootID = dashed(s.env.Getenv(bootIDVariable))
	}
	if s.env.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(serveMemory)
	}
	// A thread for each of a large host's processors would pass TasksMax of the unit.
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), serveProcs))
	if s.env.Getenv("GOGC") == "" {
		debug.SetGCPercent(serveWaste)
	}
	server := serve.New(serve.Options{
		Dir: s.stateDir, Kinds: all, Judge: judging(all, policy), Version: Version,
		BootID: bootID, Booted: s.booted(), Hosts: hosts,
	})
	if err := server.Run(ctx, listeners, config, newLogger(s.env.Err, s.verbose)); err != nil {
		return exitUsage, err
	}
	return exitOK, nil
}

// judging compares two snapshots as `diff` does.
func judging(all snapshot.Kinds, policy compare.Policy) func(a, b *snapshot.Snapshot) *report.Report {
	return func(a, b *snapshot.Snapshot) *report.Report {
		start := time.Now()
		rep := newReport(b)
		judge(rep, a, b, all, policy)
		rep.Summary = summary(rep)
		rep.TookSeconds = time.Since(start).Seconds()
		return rep
	}
}

// booted is when this boot began, by the clock as it is now; zero for a recorded host.
func (s *session) booted() time.Time {
	var up unix.Timespec
	if !s.root.Live() || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}
