package cli

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// prometheusTool finds a program of Debian's package prometheus, or skips.
func prometheusTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("LASTGOOD_REQUIRE") != "" {
		t.Fatalf("%s is not installed (package prometheus)", name)
	}
	if err != nil {
		t.Skipf("%s is not installed (package prometheus)", name)
	}
	return path
}

// prometheusPatience bounds the wait for whatever Prometheus comes to know.
const prometheusPatience = 45 * time.Second

// background runs a program until the test is over, and gives the first match in what it says on stderr.
func background(t *testing.T, cmd *exec.Cmd, pattern string) []string {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, over := make(chan []string, 1), make(chan string, 1)
	go func() {
		var said strings.Builder
		want := regexp.MustCompile(pattern)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			if said.Len() < 1<<16 {
				said.WriteString(s.Text() + "\n")
			}
			if m := want.FindStringSubmatch(s.Text()); m != nil && len(found) == 0 {
				found <- m
			}
		}
		over <- said.String()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
		said := <-over
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("%s: %v\n%s", cmd.Path, err, said)
		}
		timer.Stop()
	})
	select {
	case m := <-found:
		return m
	case <-time.After(prometheusPatience):
		t.Fatalf("%s said nothing like %s", cmd.Path, pattern)
	}
	return nil
}

// checkedHost is a state folder with a check of each recording, each a boot of its own, and the host as it is in the last.
func checkedHost(t *testing.T, recordings ...string) (host, state string) {
	t.Helper()
	dir := t.TempDir()
	state = filepath.Join(dir, "state")
	for i, r := range recordings {
		host = filepath.Join(dir, r)
		random := filepath.Join(host, "proc/sys/kernel/random")
		if err := os.MkdirAll(random, 0o755); err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command("tar", "-C", host, "-xzf", "../../testdata/hosts/"+r+".tar.gz").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if err := os.WriteFile(filepath.Join(random, "boot_id"), fmt.Appendf(nil, "boot-%d\n", i), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := lastgoodProcess(t, "check", "--root", host, "--state-dir", state)
		if b, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() > exitRegressed {
			t.Fatalf("%v: %s", err, b)
		}
	}
	return host, state
}

// certificate writes a certificate for 127.0.0.1 that vouches for itself, and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// example is a file under deploy with places of this test put into it; each has to be there.
func example(t *testing.T, name string, places ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(places); i += 2 {
		if !strings.Contains(text, places[i]) {
			t.Fatalf("%s: %s is not there", name, places[i])
		}
		text = strings.ReplaceAll(text, places[i], places[i+1])
	}
	return text
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var forLine = regexp.MustCompile(`(?m)^\s+for: \S+\n`)

// promServer is a Prometheus that runs.
type promServer struct {
	address string
	client  http.Client
}

// startPrometheus runs one with the example configuration, on these targets, and with the rules, which fire at once.
func startPrometheus(t *testing.T, dir, ca string, targets ...string) *promServer {
	t.Helper()
	// All alerts but the last two fire at once: on a busy machine a scrape may well be late.
	at, down, found := strings.Cut(example(t, "prometheus/lastgood.rules.yaml"), "- alert: LastgoodDown")
	if !found {
		t.Fatal("there is no alert LastgoodDown")
	}
	rules := writeFile(t, filepath.Join(dir, "rules.yaml"), forLine.ReplaceAllString(at, "")+"- alert: LastgoodDown"+down)
	password := writeFile(t, filepath.Join(dir, "password"), "change-me")
	text := example(t, "prometheus/prometheus.yaml", "/usr/share/lastgood/prometheus/lastgood.rules.yaml", rules,
		"/etc/prometheus/lastgood-ca.pem", ca, "/etc/prometheus/lastgood-password", password,
		`"node1.example.org:9878", "node2.example.org:9878"`, `"`+strings.Join(targets, `", "`)+`"`, `"node3.example.org:9100"`, "",
		"scrape_interval: 1m", "scrape_interval: 2s", "scrape_timeout: 10s", "scrape_timeout: 2s")
	config := writeFile(t, filepath.Join(dir, "prometheus.yml"), "global: {evaluation_interval: 1s, scrape_interval: 1s, scrape_timeout: 1s}\n"+text)
	cmd := exec.Command(prometheusTool(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	m := background(t, cmd, `msg="Listening on" address=(\S+)`)
	return &promServer{address: m[1], client: http.Client{Timeout: time.Minute}}
}

// sample is a series of an instant query's answer, its value as a text.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// query asks for an expression's value now.
func (p *promServer) query(ctx context.Context, expr string) ([]sample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	w, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer w.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(w.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("query %s: %s", expr, answer.Error)
	}
	var out []sample
	if answer.Data.ResultType == "vector" {
		err = json.Unmarshal(answer.Data.Result, &out)
	}
	return out, err
}

// until asks again and again until the answer is what is wanted.
func (p *promServer) until(t *testing.T, expr string, done func([]sample) bool) []sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), prometheusPatience)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	var have []sample
	var err error
	for {
		if have, err = p.query(ctx, expr); err == nil && done(have) {
			return have
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v, %v", expr, have, err)
		}
	}
}

// serving starts `lastgood serve` for a host, and gives its address.
func serving(t *testing.T, host, state string, flags ...string) string {
	t.Helper()
	args := append([]string{"serve", "--root", host, "--state-dir", state, "--web.listen-address", "127.0.0.1:0"}, flags...)
	return background(t, lastgoodProcess(t, args...), `^lastgood: serving .* at (\S+)$`)[1]
}

// TestPrometheusScrapes: real Prometheus with the configuration and the rules that are shipped scrapes real servers,
// with TLS and a password, and tells of the host that regressed and of no other.
func TestPrometheusScrapes(t *testing.T) {
	prometheusTool(t, "prometheus")
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	web := writeFile(t, filepath.Join(dir, "web.yaml"), example(t, "prometheus/web.yaml", "/etc/lastgood/web.pem", cert, "/etc/lastgood/web.key", key))
	hosts := map[string]string{} // address to what it is
	var targets []string
	for name, recordings := range map[string][]string{"regressed": {"dead-xhci-before", "dead-xhci-after"}, "good": {"shiftA", "shiftB"}, "learned": {"full61"}} {
		host, state := checkedHost(t, recordings...)
		address := serving(t, host, state, "--web.config.file", web)
		hosts[address], targets = name, append(targets, address)
	}
	slices.Sort(targets)
	p := startPrometheus(t, dir, cert, targets...)
	p.until(t, `count(up{job="lastgood"} == 1)`, func(s []sample) bool { return len(s) == 1 && s[0].Value[1] == "3" })
	p.until(t, `instance:lastgood_judged:bool`, func(s []sample) bool { return len(s) == 2 })
	told := func(s []sample) []string {
		var out []string
		for _, a := range s {
			out = append(out, hosts[a.Metric["instance"]]+" "+a.Metric["alertname"]+" "+a.Metric["severity"])
		}
		slices.Sort(out)
		return out
	}
	want := []string{"regressed LastgoodHardwareMissing warning", "regressed LastgoodRegression critical"}
	have := p.until(t, `ALERTS{alertstate="firing"}`, func(s []sample) bool { return len(s) >= len(want) })
	// Of the others nothing is told after as many evaluations again.
	settled := p.until(t, `count_over_time(ALERTS{alertname="LastgoodRegression"}[1m]) >= 4`, func(s []sample) bool { return len(s) > 0 })
	if d := gocmp.Diff(want, told(have)); d != "" || len(settled) != 1 {
		t.Errorf("alerts (-want +have):\n%s", d)
	}
	again, err := p.query(t.Context(), `ALERTS{alertstate="firing"}`)
	if d := gocmp.Diff(want, told(again)); d != "" || err != nil {
		t.Errorf("alerts later (-want +have):\n%s%v", d, err)
	}
	everyExpression(t, p)
}

// lacking are the labels that a table or a legend shows and no series has.
func lacking(s []sample, e expression) (out []string) {
	want := slices.Clone(e.columns)
	for _, m := range legendLabel.FindAllStringSubmatch(e.legend, -1) {
		want = append(want, m[1])
	}
	for _, l := range want {
		if len(s) > 0 && !slices.Contains(notRecorded[e.panel], l) && !slices.ContainsFunc(s, func(one sample) bool { return one.Metric[l] != "" }) {
			out = append(out, l)
		}
	}
	return out
}

// notRecorded are labels by panel that these hosts do not have: their recordings do not say, and which alerts fire decides the last one.
var notRecorded = map[string][]string{"Kernels in use": {"arch", "build_id"}, "This boot": {"class"}, "Alerts": {"id"}}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

// everyExpression evaluates all that dashboards ask for on what was scraped: an expression may be well formed
// and still match many series with many.
func everyExpression(t *testing.T, p *promServer) {
	t.Helper()
	answered := 0
	all := dashboardExpressions(t)
	for _, e := range all {
		s, err := p.query(t.Context(), e.filled())
		if err != nil {
			t.Errorf("%s, panel %q: %v", e.dashboard, e.panel, err)
		}
		if len(s) > 0 {
			answered++
		}
		if l := lacking(s, e); len(l) > 0 {
			t.Errorf("%s, panel %q: no series has a label %q: %v", e.dashboard, e.panel, l, s[0].Metric)
		}
	}
	if len(all) == 0 || answered*2 < len(all) {
		t.Errorf("%d of %d expressions of the dashboards gave something", answered, len(all))
	}
}
