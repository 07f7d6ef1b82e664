package serve

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// exposition is what a result's metrics are in one format, packed: as text they are twelve
// times as large, and Prometheus asks for them packed. It is the beginning of an answer: what
// passes with time is added to it as a gzip member of its own (RFC 1952, 2.2: members follow
// one another).
type exposition struct {
	packed []byte
	size   int // of the text
}

var (
	textFormat = expfmt.NewFormat(expfmt.TypeTextPlain)
	openFormat = expfmt.NewFormat(expfmt.TypeOpenMetrics)
)

// expose writes families in a format, without an end.
func expose(families []*dto.MetricFamily, format expfmt.Format) (exposition, error) {
	plain, err := write(families, format)
	if err != nil {
		return exposition{}, err
	}
	packed, err := pack(plain)
	return exposition{packed, len(plain)}, err
}

// unpack writes the text of an exposition for who asked for it so.
func (e exposition) unpack(w io.Writer) error {
	if e.size == 0 {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(e.packed))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, z)
	return err
}

func write(families []*dto.MetricFamily, format expfmt.Format) ([]byte, error) {
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("write metric %s: %w", f.GetName(), err)
		}
	}
	return b.Bytes(), nil
}

func pack(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(plain)
	if err == nil {
		err = z.Close()
	}
	return bytes.Clone(b.Bytes()), err
}

// stored is a small text as a gzip member that is not compressed (RFC 1952, 2.3, and RFC 1951,
// 3.2.4): a compressor takes 700 kB to begin with, for each who asks at once.
func stored(plain []byte) []byte {
	out := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255} // deflate, no name, no time, system not known
	rest := plain
	for {
		block := rest[:min(len(rest), math.MaxUint16)]
		rest = rest[len(block):]
		last := byte(0)
		if len(rest) == 0 {
			last = 1
		}
		out = append(out, last)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(block)))
		out = binary.LittleEndian.AppendUint16(out, ^uint16(len(block)))
		out = append(out, block...)
		if last == 1 {
			break
		}
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(out, uint32(len(plain)))
}

// metrics answers a scrape in OpenMetrics where that is asked for, else in the text format.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	s.scrapes.Add(1)
	st := s.state.Load()
	format, body := textFormat, st.text
	if expfmt.NegotiateAccept(r.Header, append([]expfmt.Format{textFormat}, expfmt.DefaultOpenMetricsAcceptedFormats()...)...).FormatType() == expfmt.TypeOpenMetrics {
		format, body = openFormat, st.open
	}
	tail, err := write(s.passing(st), format)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	if format == openFormat {
		tail = append(tail, "# EOF\n"...)
	}
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept, Accept-Encoding")
	packed, size := acceptsGzip(r.Header.Get("Accept-Encoding")), body.size
	if packed {
		tail, size = stored(tail), len(body.packed)
		w.Header().Set("Content-Encoding", "gzip")
	}
	w.Header().Set("Content-Length", fmt.Sprint(size+len(tail)))
	if r.Method == http.MethodHead {
		return
	}
	if packed {
		_, err = w.Write(body.packed)
	} else {
		err = body.unpack(w)
	}
	if err == nil { // else whoever asked is gone
		_, _ = w.Write(tail)
	}
}

// acceptsGzip reads an Accept-Encoding; a weight of zero refuses.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.Trim(strings.TrimPrefix(strings.TrimSpace(weight), "q="), "0. ") != "" || strings.TrimSpace(weight) == ""
		}
	}
	return false
}

// passing are the metrics that change while nothing in the folder does.
func (s *Server) passing(st *state) []*dto.MetricFamily {
	out := []*dto.MetricFamily{
		one("lastgood_build_info", "The lastgood that serves this.", dto.MetricType_GAUGE, 1, "version", s.o.Version),
		one("lastgood_serve_faults", "What in the state folder could not be read.", dto.MetricType_GAUGE, float64(len(st.faults))),
		one("lastgood_serve_scrapes_total", "Scrapes that were answered.", dto.MetricType_COUNTER, float64(s.scrapes.Load())),
		one("lastgood_serve_reads_total", "Reads of the state folder.", dto.MetricType_COUNTER, float64(s.reads.Load())),
		one("lastgood_serve_reads_failed_total", "Reads of the state folder that met something damaged or gone.", dto.MetricType_COUNTER, float64(s.failures.Load())),
	}
	if !st.any() {
		return append(out, one("lastgood_result_present", "Whether there is a result at all.", dto.MetricType_GAUGE, 0))
	}
	out = append(out,
		one("lastgood_result_present", "Whether there is a result at all.", dto.MetricType_GAUGE, 1),
		one("lastgood_result_age_seconds", "How long ago the last result was begun.", dto.MetricType_GAUGE, s.o.Now().Sub(st.taken).Seconds()),
		one("lastgood_serve_stale", "Whether an earlier result is served because the newest one cannot be read.", dto.MetricType_GAUGE, stale(st)),
		one("lastgood_serve_read_timestamp_seconds", "When the result that is served was read, in seconds since 1970.", dto.MetricType_GAUGE, float64(st.read.UnixMilli())/1000))
	if is, known := s.thisBoot(st); known {
		on := 0.0
		if is {
			on = 1
		}
		out = append(out, one("lastgood_result_of_this_boot", "Whether the last result is of the boot that runs.", dto.MetricType_GAUGE, on))
	}
	return out
}

func stale(st *state) float64 {
	if st.broken {
		return 1
	}
	return 0
}

// one is a family of one series; labels are names and values in turn.
func one(name, help string, typ dto.MetricType, value float64, labels ...string) *dto.MetricFamily {
	m := &dto.Metric{}
	if typ == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &value}
	} else {
		m.Gauge = &dto.Gauge{Value: &value}
	}
	for i := 0; i+1 < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &typ, Metric: []*dto.Metric{m}}
}
