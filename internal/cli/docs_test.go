package cli

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"lastgood/internal/candidate"
	"lastgood/internal/preflight"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/probes"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// TestDocs keeps the generated documents what the declarations say.
func TestDocs(t *testing.T) {
	for name, text := range map[string]string{
		"kinds.md":             kindsPage(t),
		"probes.md":            probesPage(t),
		"preflight.md":         preflightPage(),
		"snapshot.schema.json": schemaOf(t, snapshot.Snapshot{}, snapshot.Schema, "One collection on one boot."),
		"report.schema.json":   schemaOf(t, report.Report{}, report.Schema, "One comparison with its verdict."),
	} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(string(have), text); d != "" {
			t.Errorf("docs/%s is out of date; rewrite it with `go test ./internal/cli -run Docs -update` (-have +want):\n%s", name, d)
		}
	}
}

// kindsPage lists every kind with its attributes and rules.
func kindsPage(t *testing.T) string {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Kinds, attributes, rules\n\nGenerated from the declarations. Everything that lastgood observes is a subject of one of these kinds. A rule's numbers\n" +
		"and severity can be changed by its code in `/etc/lastgood/lastgood.yaml`. Attributes of noise *sampled* or *ambient* are\nnever compared by value; *evidence* only explains. A *counter* only grows, from the boot, the driver's start or the thing's\nfirst day on; every other number may fall.\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		k := all[name]
		fmt.Fprintf(&b, "\n## %s\n\n%s", k.Name, k.Doc)
		if k.Required {
			b.WriteString(" Where one that was measured at the last good boot cannot be measured, the verdict is incomplete.")
		}
		b.WriteString("\n\n| attribute | unit | better | noise | meaning |\n|---|---|---|---|---|\n")
		for _, a := range k.Attrs {
			noise := a.Noise
			if noise == snapshot.Exact {
				noise = "exact"
			}
			unit := string(a.Unit)
			if a.Cumulative {
				unit = strings.TrimSpace(strings.TrimSuffix(unit, string(snapshot.Count)) + " counter")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", a.Name, unit, a.Better, noise, a.Doc)
		}
		if len(k.Rules) > 0 {
			b.WriteString("\n| rule | fires on | severity | class |\n|---|---|---|---|\n")
		}
		for _, r := range k.Rules {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Code, ruleText(&r), r.Severity, r.Class)
		}
	}
	return b.String()
}

func ruleText(r *snapshot.Rule) string {
	text := map[snapshot.Trigger]string{
		snapshot.OnMissing: "the subject is gone", snapshot.OnNew: "the subject is new",
		snapshot.OnMoved: "any exact number changed on the same kernel build",
	}[r.On]
	if text == "" {
		text = fmt.Sprintf("`%s` %s", r.Attr, map[snapshot.Trigger]string{
			snapshot.OnBecomes: "becomes " + strings.Join(r.To, " or "), snapshot.OnIs: "is " + strings.Join(r.To, " or ") + ", also where it was before", snapshot.OnChanged: "changed", snapshot.OnWorse: "is worse",
			snapshot.OnBetter: "is better", snapshot.OnGrowth: fmt.Sprintf("grew to ×%g or more, by %g or more", r.Ratio, r.Floor),
			snapshot.OnHeadroom: fmt.Sprintf("has less than %g %% of its limit left and had more", r.Share*100), snapshot.OnAbove: "is above its limit and was not",
		}[r.On])
	}
	if r.On == snapshot.OnWorse && r.Share > 0 {
		text += fmt.Sprintf(" by %g %% or more", r.Share*100)
	}
	if r.On == snapshot.OnAbove && r.Floor > 0 {
		text += fmt.Sprintf(" (%g where it bears none)", r.Floor)
	}
	if len(r.From) > 0 {
		text += ", from " + strings.Join(r.From, " or ")
	}
	for _, attr := range slices.Sorted(maps.Keys(r.Where)) {
		text += fmt.Sprintf(", where `%s` is %s", attr, r.Where[attr])
	}
	return text
}

// probesPage lists the built-in families.
func probesPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# Built-in probes\n\nGenerated from the catalogue and, for where each one moved, from the snapshots under testdata/kernels ([all of them](kernels.md), [what they had to\n" +
		"tell](truth.md)). A *deduction* probe tells whether the verifier proves that a block is never reached; a *merge* probe whether it sees that paths are\n" +
		"equal in all that matters; a *limit* probe stands on one side of a limit; a *datapath* probe looks like a real program. Costs are those of a slow\n" +
		"machine. `lastgood probe --thorough` makes the programs that are marked so larger until the kernel refuses them (bpf.breaking_point).\n" +
		"\nBesides these, programs are [run](#what-programs-do), [timed](#how-fast-they-are) and [attached](#where-they-are-attached).\n")
	moved := whereMoved(t)
	for _, f := range probes.Families() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n*%s*; rests on %s", f.Name, f.Doc, f.Shape, f.Rests)
		if f.Since != "" {
			fmt.Fprintf(&b, "; kernel %s or later", f.Since)
		}
		var cost time.Duration
		for _, c := range f.Cases {
			cost += c.Cost
		}
		fmt.Fprintf(&b, "; %d programs, %v\n\nmoved: %s\n\n", len(f.Cases), cost, cmp.Or(moved[f.Name], "on none of the kernels kept; it guards a limit or is new to some of them"))
		for _, c := range f.Cases {
			fmt.Fprintf(&b, "- `%s`: %s\n", c.Name, c.Doc)
			if c.Grow != nil {
				fmt.Fprintf(&b, "  (made larger: %s, from %d to %d)\n", c.Grow.Parameter, c.Grow.From, c.Grow.To)
			}
		}
	}
	b.WriteString("\n## What programs do\n\nSmall programs are run on packets of their own (BPF_PROG_TEST_RUN, attached to nothing), and what they leave is compared with what the\ninstruction set, the map or the helper is defined to do.\n\n")
	for _, g := range probes.Behaviours() {
		title, _, _ := strings.Cut(g.Doc, "\n")
		fmt.Fprintf(&b, "- `%s`: %s Rests on %s\n", g.Name, title, g.Rests)
		for _, c := range g.Cases {
			fmt.Fprintf(&b, "  - `%s`: %s\n", c.Name, c.Doc)
		}
	}
	b.WriteString("\n## How fast they are\n\n")
	for _, g := range probes.Speeds() {
		for _, c := range g.Cases {
			fmt.Fprintf(&b, "- `%s/%s`: %s\n", g.Name, c.Name, c.Doc)
		}
	}
	b.WriteString("\n## Where they are attached\n\nIn a private network namespace and cgroup that end with the process; never to anything of the host's.\n\n")
	for _, p := range probes.AttachPoints() {
		fmt.Fprintf(&b, "- `%s`: %s\n", p.ID, p.Doc)
	}
	return b.String()
}

// whereMoved names for each family the kept kernels at which it got dearer (▲) or
// cheaper (▼) than at the one before.
func whereMoved(t *testing.T) map[string]string {
	t.Helper()
	all, err := kinds()
	if err != nil {
		t.Fatal(err)
	}
	kept := releases(t)
	at := map[string][]string{}
	for i := 1; i < len(kept); i++ {
		release := strings.TrimSuffix(kept[i].Identity.Kernel.Release, "-"+matrixFlavour)
		for family, m := range movements(kept[i-1], kept[i], all) {
			mark := ""
			if len(m.up) > 0 {
				mark += "▲"
			}
			if len(m.down) > 0 {
				mark += "▼"
			}
			if m.factor >= 1.1 {
				mark += fmt.Sprintf("×%.3g", m.factor)
			}
			at[family] = append(at[family], mark+" "+release)
		}
	}
	out := map[string]string{}
	for family, list := range at {
		out[family] = strings.Join(list, ", ")
	}
	return out
}

// preflightPage lists what preflight asks without running anything.
func preflightPage() string {
	var b strings.Builder
	b.WriteString("# What preflight reads\n\nGenerated from the declarations. `lastgood preflight` asks these questions about this host and about the candidate's files;\n" +
		"running the candidate is judged by the rules of [bpf.probe, bpf.feature and bpf.program](kinds.md). A check's severity can be changed by\nits code in `/etc/lastgood/lastgood.yaml`, and `off` turns it off.\n" +
		"\n`-o json` prints `{\"schema\": \"lastgood.preflight/v1\", \"kernels\": [...]}` with one [report](report.schema.json) for each kernel.\n" +
		"\n## This host\n\n| check | asks | severity | class |\n|---|---|---|---|\n")
	for _, c := range preflight.HostChecks() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, strings.TrimSpace(c.Title), c.Severity, c.Class)
	}
	b.WriteString("\n## The candidate's files\n\n| check | finds | severity | class |\n|---|---|---|---|\n")
	for _, c := range candidate.Checks() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, c.Title, c.Severity, c.Class)
	}
	return b.String()
}

// schemaOf is a JSON schema (2020-12) of what encoding/json makes of v.
func schemaOf(t *testing.T, v any, id, about string) string {
	t.Helper()
	g := schemaMaker{defs: map[string]any{}}
	root := g.object(reflect.TypeOf(v))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = id
	root["description"] = about + " Fields may be added within a version; readers pass over those that they do not know."
	root["properties"].(map[string]any)["schema"] = map[string]any{"const": id}
	root["$defs"] = g.defs
	b, err := json.MarshalIndent(root, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

type schemaMaker struct{ defs map[string]any }

var plainTypes = map[reflect.Type]map[string]any{
	reflect.TypeFor[time.Time]():         {"type": "string", "format": "date-time"},
	reflect.TypeFor[snapshot.Value]():    {"description": "a number, a text, a truth value or a set of texts", "type": []string{"number", "string", "boolean", "array", "object"}},
	reflect.TypeFor[snapshot.Verdict]():  {"enum": []snapshot.Verdict{snapshot.Good, snapshot.Regressed, snapshot.Incomplete, snapshot.Invalid, snapshot.Learned}},
	reflect.TypeFor[snapshot.Outcome]():  {"enum": []snapshot.Outcome{snapshot.Measured, snapshot.Unsupported, snapshot.Inconclusive, snapshot.Skipped}},
	reflect.TypeFor[snapshot.Severity](): {"enum": []snapshot.Severity{snapshot.Critical, snapshot.Warning, snapshot.Info}},
	reflect.TypeFor[snapshot.Class]():    {"enum": []snapshot.Class{snapshot.ClassKernel, snapshot.ClassConfig, snapshot.ClassObject, snapshot.ClassHardware, snapshot.ClassService, snapshot.ClassTool, snapshot.ClassIdentity}},
}

func (g *schemaMaker) of(t reflect.Type) map[string]any {
	if s, ok := plainTypes[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	}
	if _, done := g.defs[t.Name()]; !done {
		g.defs[t.Name()] = nil // ends a type that holds itself
		g.defs[t.Name()] = g.object(t)
	}
	return map[string]any{"$ref": "#/$defs/" + t.Name()}
}

func (g *schemaMaker) object(t reflect.Type) map[string]any {
	props := map[string]any{}
	required := []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		props[name] = g.of(f.Type)
		if options == "" {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": props, "required": required}
}

// TestSchemaTellsTheTruth holds a real report and snapshot against the schemas'
// required fields.
func TestSchemaTellsTheTruth(t *testing.T) {
	snap := &snapshot.Snapshot{Tool: tool(), Subjects: []snapshot.Subject{{Kind: "a", ID: "b", Outcome: snapshot.Measured}}}
	b, err := snap.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var doc, schema map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(schemaOf(t, snapshot.Snapshot{}, snapshot.Schema, "")), &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range schema["required"].([]any) {
		if _, ok := doc[name.(string)]; !ok {
			t.Errorf("a snapshot has no %s", name)
		}
	}
	for name := range doc {
		if _, ok := schema["properties"].(map[string]any)[name]; !ok {
			t.Errorf("the schema has no %s", name)
		}
	}
}
