package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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

	"lastgood/internal/snapshot"
)

// What BenchmarkLoad and BenchmarkPeer lean on.
const (
	serverVariable  = "LASTGOOD_BENCH_SERVER"  // the program that is measured
	secondsVariable = "LASTGOOD_BENCH_SECONDS" // for how long, default 60
	peerVariable    = "LASTGOOD_BENCH_PEER"    // set: this process is the peer, and serves that file
)

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
	return &scraper{url: url, client: http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}}
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

// held is what a process holds, in MiB.
type held struct{ rss, pss, anon, file float64 }

// memory reads that: all pages, its part of those that are shared, its own, and those of its
// program, which the kernel takes back where it needs them (proc(5), smaps_rollup and status).
func memory(t testing.TB, pid int) held {
	t.Helper()
	var h held
	for name, fields := range map[string]map[string]*float64{
		"smaps_rollup": {"Rss:": &h.rss, "Pss:": &h.pss},
		"status":       {"RssAnon:": &h.anon, "RssFile:": &h.file},
	} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) != 3 || fields[f[0]] == nil {
				continue
			}
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			*fields[f[0]] = kb / 1024
		}
	}
	return h
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
	d, first := benchTime(b), memory(b, pid)
	most, last := first, first
	next := time.Duration(0)
	for b.Loop() {
		took, err := scrape(s, rate, d, func(at time.Duration) {
			last = memory(b, pid)
			most.rss = max(most.rss, last.rss)
			if at >= next {
				b.Logf("%v: RSS %.1f MiB, Pss %.1f MiB, its own %.1f MiB", at, last.rss, last.pss, last.anon)
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
	b.ReportMetric(first.rss, "first-MiB")
	b.ReportMetric(last.rss, "rss-MiB")
	b.ReportMetric(last.pss, "pss-MiB")
	b.ReportMetric(most.rss, "most-MiB")
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
