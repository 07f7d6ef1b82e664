package contract

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (e *ExecCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	got, err := runCommand(ctx, e.Command)
	if errors.Is(err, errHangs) {
		return unmet("%v", err)
	}
	if err != nil {
		return answer{}, err
	}
	return e.weigh(&got)
}

// weigh holds what a command answered to what is wanted. What may stand in the part of the output that was dropped could not be told:
// an output that grew is no regression.
func (e *ExecCheck) weigh(got *ran) (answer, error) {
	name := e.Command[0]
	if got.status != e.Exit {
		return answer{why: strings.TrimSuffix(fmt.Sprintf("%s ended with %d, want %d: %s", name, got.status, e.Exit, got.said), ": ")}, nil
	}
	if e.Regexp != "" && !regexp.MustCompile(e.Regexp).MatchString(got.output) { // it was compiled when it was read
		if got.cut {
			return answer{}, fmt.Errorf("the output of %s is longer than %d bytes, and those do not match %s: have it print less", name, maxOutput, e.Regexp)
		}
		return unmet("the output of %s does not match %s", name, e.Regexp)
	}
	if e.JSON == nil {
		return met()
	}
	if got.cut {
		return answer{}, fmt.Errorf("the output of %s is longer than %d bytes, and no JSON can be read from a part of it: have it print less", name, maxOutput)
	}
	if why := e.JSON.wrong(got.output); why != "" {
		return unmet("the output of %s: %s", name, why)
	}
	return met()
}

// wrong says what is wrong with a JSON document: "" is nothing.
func (j *JSONCheck) wrong(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return "it is no JSON: " + err.Error()
	}
	v, err := walkJSON(doc, j.Path)
	if err != nil {
		return err.Error()
	}
	have := jsonText(v)
	if j.Equals != "" && have != j.Equals {
		return fmt.Sprintf("%s is %s, want %s", j.Path, clip(have), j.Equals)
	}
	if j.Regexp != "" && !regexp.MustCompile(j.Regexp).MatchString(have) {
		return fmt.Sprintf("%s is %s, which does not match %s", j.Path, clip(have), j.Regexp)
	}
	if j.AtLeast == nil {
		return ""
	}
	n, known := jsonSize(v)
	switch {
	case !known:
		return fmt.Sprintf("%s is %s, which is no number and has no members", j.Path, clip(have))
	case n < float64(*j.AtLeast):
		return fmt.Sprintf("%s is %v, %d at least", j.Path, n, *j.AtLeast)
	}
	return ""
}

// walkJSON follows names and numbers with dots between; an empty path is the document.
func walkJSON(v any, path string) (any, error) {
	done := ""
	for _, e := range strings.Split(strings.Trim(path, "."), ".") {
		if e == "" {
			continue
		}
		switch x := v.(type) {
		case map[string]any:
			next, has := x[e]
			if !has {
				return nil, fmt.Errorf("there is no %s%s", done, e)
			}
			v = next
		case []any:
			n, err := strconv.Atoi(e)
			if err != nil || n < 0 || n >= len(x) {
				return nil, fmt.Errorf("%s has %d members: there is no %s%s", strings.TrimSuffix(done, "."), len(x), done, e)
			}
			v = x[n]
		default:
			return nil, fmt.Errorf("%s has no members: there is no %s%s", strings.TrimSuffix(done, "."), done, e)
		}
		done += e + "."
	}
	return v, nil
}

func jsonText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case nil:
		return "null"
	case json.Number:
		return x.String()
	case bool:
		return strconv.FormatBool(x)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func jsonSize(v any) (float64, bool) {
	switch x := v.(type) {
	case json.Number:
		f, err := x.Float64()
		return f, err == nil
	case []any:
		return float64(len(x)), true
	case map[string]any:
		return float64(len(x)), true
	}
	return 0, false
}

// maxTool bounds the output of ceph and of lastgood itself, in bytes: the map of a thousand OSDs has about a megabyte.
const maxTool = 16 << 20

// runCephDump asks the cluster for its OSDs.
func runCephDump(ctx context.Context) ([]osdState, error) {
	got, err := runBounded(ctx, []string{"ceph", "osd", "dump", "--format", "json"}, maxTool)
	switch {
	case err != nil:
		return nil, err
	case got.status != 0:
		return nil, fmt.Errorf("run ceph: it ended with %d: %s", got.status, got.said)
	case got.cut:
		return nil, errors.New("run ceph: its map is larger than 16 MiB")
	}
	var dump struct {
		OSDs *[]osdState `json:"osds"`
	}
	if err := json.Unmarshal([]byte(got.output), &dump); err != nil {
		return nil, fmt.Errorf("read the cluster's map: %w", err)
	}
	if dump.OSDs == nil {
		return nil, errors.New("read the cluster's map: it has no osds")
	}
	return *dump.OSDs, nil
}

func (b *BPFCheck) ask(ctx context.Context, r *Runner) (answer, error) {
	if err := r.errLive(); err != nil {
		return answer{}, err
	}
	if r.Self == "" {
		return answer{}, errors.New("BPF objects are measured by lastgood itself, whose path is not known")
	}
	var objects []string
	for _, p := range b.Objects {
		found, err := glob(ctx, r.Host.Root, p)
		if err != nil {
			return answer{}, err
		}
		objects = append(objects, found...)
	}
	if len(objects) == 0 {
		return unmet("no object matches %s", listed(b.Objects))
	}
	got, err := runBounded(ctx, append([]string{r.Self, "probe", "--output", "csv", "--"}, objects...), maxTool)
	if err != nil {
		return answer{}, err
	}
	if got.status != 0 && got.status != 1 { // 3: something could not be measured; the rest is a fault
		return answer{}, fmt.Errorf("measure objects: %s", got.said)
	}
	return b.weigh(got.output)
}

// program is one line of that table.
type program struct {
	file, name string
	accepted   bool
	insns      int
}

func readPrograms(table string) ([]program, error) {
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("measure objects: no table: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	column := func(name string) int { return slices.Index(rows[0], name) }
	file, name, verdict, insns := column("file_name"), column("prog_name"), column("verdict"), column("total_insns")
	if min(file, name, verdict, insns) < 0 {
		return nil, errors.New("measure objects: the table lacks a column")
	}
	var out []program
	for _, r := range rows[1:] {
		n, err := strconv.Atoi(r[insns])
		if err != nil {
			return nil, fmt.Errorf("measure objects: %q is no number of instructions", clip(r[insns]))
		}
		out = append(out, program{r[file], r[name], r[verdict] == "success", n})
	}
	return out, nil
}

// weigh reads the table of `lastgood probe -o csv`, which has veristat's columns.
func (b *BPFCheck) weigh(table string) (answer, error) {
	rows, err := readPrograms(table)
	if err != nil {
		return answer{}, err
	}
	var a answer
	var bad []string
	for _, p := range rows {
		switch {
		case !p.accepted:
			bad = append(bad, fmt.Sprintf("the kernel refuses %s of %s", p.name, p.file))
		case b.MaxInsns > 0 && p.insns > b.MaxInsns:
			bad = append(bad, fmt.Sprintf("%s of %s takes %d instructions, %d at most", p.name, p.file, p.insns, b.MaxInsns))
		default:
			a.observed = append(a.observed, p.file+"/"+p.name)
		}
	}
	if len(rows) == 0 {
		return answer{}, errors.New("measure objects: they have no programs")
	}
	a.why = listed(bad)
	return a, nil
}
