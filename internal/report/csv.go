package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
)

// csvColumn is one of veristat's columns behind the names and the verdict, and what
// a program's attribute puts there. none is what veristat itself writes where it
// has nothing, for its reader takes neither an empty field nor a word in its place.
type csvColumn struct{ name, attr, none string }

// csvColumns are the columns of veristat's CSV in its own order (struct stat_specs
// default_csv_output_spec in veristat.c): its comparison refuses files whose columns
// differ. A program type not set is "unspec"; an attach type not set is the one that
// bears the number 0; a peak of memory not known is -1.
var csvColumns = []csvColumn{
	{"total_insns", "insns_processed", "0"},
	{"total_states", "total_states", "0"},
	{"peak_states", "peak_states", "0"},
	{"max_states_per_insn", "max_states_per_insn", "0"},
	{"max_mark_read_len", "mark_read", "0"},
	{"prog_size", "insns", "0"},
	{"prog_size_jited", "jited_bytes", "0"},
	{"prog_type", "prog_type", "unspec"},
	{"attach_type", "attach_type", "cgroup_inet_ingress"},
	{"stack_depth", "stack_depth", "0"},
	{"mem_peak", "", "-1"},
}

// ProgramsCSV writes the programs in veristat's CSV, so that `veristat -C` compares
// such files with its own. A program without a verdict is left out. That format has
// no word for "absent": what is not known is written as veristat writes it, and is
// told from a true zero in the JSON only.
func ProgramsCSV(w io.Writer, s *snapshot.Snapshot) error {
	var b strings.Builder
	b.WriteString("file_name,prog_name,verdict,duration")
	for _, c := range csvColumns {
		b.WriteString("," + c.name)
	}
	b.WriteString("\n")
	for _, sub := range programsOf(s) {
		verdict := map[string]string{accepted: "success", rejected: "failure"}[sub.Text("verdict")]
		if verdict == "" {
			continue
		}
		file, prog, _ := strings.Cut(sub.ID, "/")
		seconds, _ := sub.Attrs["verification_seconds"].Number()
		fmt.Fprintf(&b, "%s,%s,%s,%d", csvName(file), csvName(prog), verdict, int64(seconds*1e6))
		for _, c := range csvColumns {
			b.WriteString("," + c.field(sub))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *csvColumn) field(s *snapshot.Subject) string {
	v := s.Attrs[c.attr]
	if n, ok := v.Number(); ok {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	if t, ok := v.Text(); ok && t != "" {
		return csvName(t)
	}
	return c.none
}

// csvName keeps a name one field: veristat splits at commas, knows no quotes, takes
// two commas for one, and reads lines of 4 KiB.
func csvName(s string) string {
	s = strings.NewReplacer(",", "_", "\"", "_").Replace(flat(s))
	if s == "" {
		return "-"
	}
	return cutBytes(s, 1000)
}
