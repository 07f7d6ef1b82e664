package serve

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lastgood/internal/snapshot"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(peerVariable); file != "" {
		fmt.Fprintln(os.Stderr, plainExporter(file))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// plainExporter is what most exporters are: client_golang's handler over metrics in memory.
func plainExporter(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(b))
	if err != nil {
		return err
	}
	var families []*dto.MetricFamily
	for _, f := range parsed {
		families = append(families, f)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "serving at", l.Addr())
	gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
	return http.Serve(l, promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
}

// BenchmarkLoad is the real program under load, with a new result each minute.
func BenchmarkLoad(b *testing.B) {
	program := os.Getenv(serverVariable)
	if program == "" {
		b.Skip(serverVariable + " does not name the program")
	}
	for _, c := range []struct {
		name, path string
		rate       int
	}{{"scrape", "/metrics", 100}, {"page", "/", 20}, {"flood", "/metrics", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			dir := largeState(b)
			renewed := time.Duration(0)
			hold(b, exec.Command(program, "serve", "--state-dir", dir, "--web.listen-address", "127.0.0.1:0"), c.path, c.rate, func(at time.Duration) {
				if at >= renewed+time.Minute {
					renewed = at
					save(b, dir, largeHost("boot-2"), snapshot.Good, false)
				}
			})
		})
	}
}

// BenchmarkLarge is what a host of 50,000 subjects costs at most, of whatever kind they are: one
// as recorded hosts have them is 400 bytes as JSON.
func BenchmarkLarge(b *testing.B) {
	program := os.Getenv(serverVariable)
	if program == "" {
		b.Skip(serverVariable + " does not name the program")
	}
	dir := filepath.Join(b.TempDir(), "state")
	for _, boot := range []string{"boot-1", "boot-2"} {
		s := testSnapshot(boot, 25_000, 0)
		for i := range 25_000 {
			attrs := snapshot.Attrs{}
			for j := range 12 {
				attrs[fmt.Sprintf("attribute_%d", j)] = snapshot.Text(fmt.Sprintf("value %d of %d", j, i))
			}
			s.Subjects = append(s.Subjects, snapshot.Subject{Kind: "hw.pci", ID: fmt.Sprintf("pci0000:00/%d", i), Outcome: snapshot.Measured, Attrs: attrs})
		}
		save(b, dir, s, snapshot.Good, boot == "boot-1")
	}
	for b.Loop() {
		addr, pid := started(b, exec.Command(program, "serve", "--state-dir", dir, "--web.listen-address", "127.0.0.1:0"))
		began := time.Now()
		s := newScraper("http://" + addr + "/metrics")
		s.client.Timeout = time.Minute
		if err := s.once(); err != nil { // it waits until the folder is read
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "read-s")
		s.url = "http://" + addr + "/api/v1/diff?from=boot-1&to=boot-2"
		if err := s.once(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(peak(b, pid), "peak-MiB")
	}
	b.ReportMetric(0, "ns/op")
}

// peak is the most that a process ever held, in MiB (proc_pid_status(5), VmHWM).
func peak(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}

// BenchmarkPeer is the same metrics from others: client_golang's own handler, and
// node_exporter's textfile collector where that is installed.
func BenchmarkPeer(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "lastgood.prom")
	s := testServer(b, largeState(b))
	var text bytes.Buffer
	if err := s.state.Load().text.unpack(&text); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	none := func(time.Duration) {}
	b.Run("promhttp", func(b *testing.B) {
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.CommandContext(context.Background(), self)
		cmd.Env = append(os.Environ(), peerVariable+"="+file)
		hold(b, cmd, "/metrics", 100, none)
	})
	b.Run("node_exporter", func(b *testing.B) {
		program, err := exec.LookPath("prometheus-node-exporter")
		if err != nil {
			b.Skip(err)
		}
		hold(b, exec.Command(program, "--collector.disable-defaults", "--collector.textfile", "--collector.textfile.directory", dir,
			"--web.listen-address", "127.0.0.1:0", "--web.max-requests", "0"), "/metrics", 10, none) // it reads the file at each scrape, and more are too many
	})
}
