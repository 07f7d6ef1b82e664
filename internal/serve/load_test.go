package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lastgood/internal/snapshot"
)

// What BenchmarkLoad and BenchmarkPeer lean on.
const (
	serverVariable  = "LASTGOOD_BENCH_SERVER"  // the program that is measured
	secondsVariable = "LASTGOOD_BENCH_SECONDS" // for how long, default 60
	peerVariable    = "LASTGOOD_BENCH_PEER"    // set: this process is the peer, and serves that file
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

// largeHost is the host of the marks: 1,000 programs and 300 devices.
func largeHost(boot string) *snapshot.Snapshot {
	s := testSnapshot(boot, 1000, 100)
	for i := range s.Subjects {
		if s.Subjects[i].Kind == "bpf.probe" {
			for name, v := range map[string]int{"peak_states": 40, "max_states_per_insn": 4, "stack_depth": 64, "xlated_bytes": 4096, "jited_bytes": 3072, "memlock_bytes": 8192, "subprograms": 2} {
				s.Subjects[i].Attrs[name] = snapshot.Int(v + i)
			}
			s.Subjects[i].Attrs["verification_seconds"] = snapshot.Float(0.0015)
			s.Subjects[i].Attrs["prog_type"] = snapshot.Text("sched_cls")
		}
	}
	for i := range 100 {
		s.Subjects = append(s.Subjects,
			snapshot.Subject{Kind: "hw.disk", ID: fmt.Sprintf("wwid:naa.%016x", i), Label: fmt.Sprintf("sd%d", i), Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
				"name": snapshot.Text(fmt.Sprintf("sd%d", i)), "model": snapshot.Text("a disk of some maker"), "size_bytes": snapshot.Int(1 << 40), "io_errors": snapshot.Int(0)}},
			snapshot.Subject{Kind: "hw.pci", ID: fmt.Sprintf("pci0000:00/%02x.0", i), Outcome: snapshot.Measured, Attrs: snapshot.Attrs{
				"vendor": snapshot.Text("8086"), "link_width": snapshot.Int(8), "aer_correctable": snapshot.Int(i)}})
	}
	return s
}

func largeState(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	save(t, dir, largeHost("boot-1"), snapshot.Good, true)
	save(t, dir, largeHost("boot-2"), snapshot.Good, false)
	return dir
}

var servedAt = regexp.MustCompile(`(?:at |address=)(127\.0\.0\.1:\d+)`)

// started runs a program that says where it listens, and gives that and its number.
func started(t testing.TB, cmd *exec.Cmd) (addr string, pid int) {
	t.Helper()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if m := servedAt.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return m[1], cmd.Process.Pid
		}
	}
	t.Fatalf("%s does not say where it listens", cmd)
	return "", 0
}

// scraper asks as Prometheus does.
type scraper struct {
	client http.Client
	url    string
	size   atomic.Int64 // of the last answer, as it came
}

func newScraper(url string) *scraper {
	return &scraper{url: url, client: http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}}
}

func (s *scraper) once() error {
	r, err := http.NewRequest(http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	r.Header.Set("Accept-Encoding", "gzip")
	w, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	n, err := io.Copy(io.Discard, w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		return errors.Join(err, errors.New(w.Status))
	}
	s.size.Store(n)
	return nil
}

// scrape asks at a rate for a time, whether or not earlier answers came, and gives what each
// took from when it was due. every is called each second.
func scrape(s *scraper, perSecond int, d time.Duration, every func(at time.Duration)) ([]time.Duration, error) {
	took := make([]time.Duration, 0, perSecond*int(d/time.Second+1))
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	start := time.Now()
	gap, second := time.Second/time.Duration(perSecond), time.Second
	for due := time.Duration(0); due < d; due += gap {
		time.Sleep(time.Until(start.Add(due)))
		if due >= second {
			every(due)
			second += time.Second
		}
		at := start.Add(due)
		wg.Go(func() {
			err := s.once()
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, time.Since(at)), cmpErr(failed, err)
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took, failed
}

func cmpErr(first, err error) error {
	if first != nil {
		return first
	}
	return err
}

func part(sorted []time.Duration, share float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]) / 1e6
}

// memory is what a process holds, in MiB: all of its pages, and its part of those that are shared.
func memory(t testing.TB, pid int) (rss, pss float64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && (f[0] == "Rss:" || f[0] == "Pss:") {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			if f[0] == "Rss:" {
				rss = kb / 1024
			} else {
				pss = kb / 1024
			}
		}
	}
	return rss, pss
}

func benchTime(b *testing.B) time.Duration {
	b.Helper()
	d := 60 * time.Second
	if text := os.Getenv(secondsVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 {
			b.Fatalf("%s=%s: no number of seconds above 1", secondsVariable, text)
		}
		d = time.Duration(n) * time.Second
	}
	return d
}

// hold measures one server at one rate: how long answers take and what it holds meanwhile.
func hold(b *testing.B, cmd *exec.Cmd, path string, rate int, meanwhile func(at time.Duration)) {
	b.Helper()
	addr, pid := started(b, cmd)
	s := newScraper("http://" + addr + path)
	if err := s.once(); err != nil {
		b.Fatal(err)
	}
	d, most, mostPss := benchTime(b), 0.0, 0.0
	began, _ := memory(b, pid)
	next := time.Duration(0)
	for b.Loop() {
		took, err := scrape(s, rate, d, func(at time.Duration) {
			rss, pss := memory(b, pid)
			most, mostPss = max(most, rss), max(mostPss, pss)
			if at >= next {
				b.Logf("%v: RSS %.1f MiB, Pss %.1f MiB", at, rss, pss)
				next += d / 8
			}
			meanwhile(at)
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(part(took, 0.5), "p50-ms")
		b.ReportMetric(part(took, 0.99), "p99-ms")
		b.ReportMetric(part(took, 1), "max-ms")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(began, "first-MiB")
	b.ReportMetric(most, "rss-MiB")
	b.ReportMetric(mostPss, "pss-MiB")
	b.ReportMetric(float64(s.size.Load())/1000, "kB")
	b.Logf("%s", cpuOf(pid))
}

// cpuOf is what a process has used of a CPU.
func cpuOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest) // utime and stime are the 12th and 13th after the name (proc_pid_stat(5)), in hundredths
	if len(f) < 13 {
		return ""
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return fmt.Sprintf("%.1f s of CPU", float64(user+system)/100)
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

// BenchmarkPeer is the same metrics at the same rate from others: client_golang's own handler,
// and node_exporter's textfile collector where that is installed.
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
			"--web.listen-address", "127.0.0.1:0", "--web.max-requests", "0"), "/metrics", 100, none)
	})
}
