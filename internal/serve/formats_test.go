package serve

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lastgood/internal/snapshot"
)

// Each format is whole, as it is and packed, and parses.
func TestFormats(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 20, 5), snapshot.Good, true)
	server := httptest.NewServer(testServer(t, dir).Handler())
	defer server.Close()
	for _, accept := range []string{"", "text/plain", "*/*", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		for _, packed := range []bool{true, false} {
			r, err := http.NewRequest(http.MethodGet, server.URL+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", accept)
			if !packed {
				r.Header.Set("Accept-Encoding", "identity")
			}
			w, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(w.Body)
			w.Body.Close()
			if err != nil || w.Uncompressed != packed {
				t.Fatalf("%s packed %v: %v, was packed: %v", accept, packed, err, w.Uncompressed)
			}
			if open := strings.Contains(accept, "openmetrics"); open != strings.HasSuffix(string(b), "\n# EOF\n") || open != strings.HasPrefix(w.Header.Get("Content-Type"), "application/openmetrics-text") {
				t.Errorf("%s: type %s, ends in %q", accept, w.Header.Get("Content-Type"), b[len(b)-20:])
				continue
			}
			counter, series := "# TYPE lastgood_hw_sensor_trip_total counter\n", "\nlastgood_hw_sensor_trip_total{id=\"chip/temp4\"} 4"
			if strings.Contains(accept, "openmetrics") { // which names the family without the ending (1.0, 5.1.2)
				counter = "# TYPE lastgood_hw_sensor_trip counter\n"
			}
			if !strings.Contains(string(b), counter) || !strings.Contains(string(b), series) {
				t.Errorf("%s: no counter %q, %q", accept, counter, series)
			}
			if strings.Contains(accept, "openmetrics") {
				continue
			}
			parser := expfmt.NewTextParser(model.LegacyValidation)
			if families, err := parser.TextToMetricFamilies(bytes.NewReader(b)); err != nil || len(families) < 20 {
				t.Errorf("%s: %d families, %v", accept, len(families), err)
			}
		}
	}
}

func TestStoredIsGzip(t *testing.T) {
	for _, n := range []int{0, 1, 65535, 65536, 200_000} {
		want := bytes.Repeat([]byte("a"), n)
		z, err := gzip.NewReader(bytes.NewReader(stored(want)))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := io.ReadAll(z); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%d bytes came back as %d: %v", n, len(have), err)
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	for _, packed := range []string{"identity", "gzip"} {
		b.Run(packed, func(b *testing.B) {
			dir := b.TempDir()
			save(b, dir, testSnapshot("boot-2", 1000, 300), snapshot.Good, true)
			h := testServer(b, dir).Handler()
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept-Encoding", packed)
			b.ReportAllocs()
			for b.Loop() {
				w := discard{http.Header{}}
				h.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkRead is what a new result costs.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	save(b, dir, testSnapshot("boot-2", 1000, 300), snapshot.Good, true)
	s := testServer(b, dir)
	for b.Loop() {
		s.seen = ""
		s.Refresh()
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header { return d.h }

func (d discard) Write(b []byte) (int, error) { return len(b), nil }

func (d discard) WriteHeader(int) {}
