package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What Grafana 11 and 12 read of a panel, by the schemas of its panels (kinds/dashboard and
// public/app/plugins/panel/*/panelcfg.cue): a key that it does not know is passed over without a word.
var (
	grafanaOptions = map[string][]string{
		"stat":           {"colorMode", "graphMode", "justifyMode", "orientation", "textMode", "wideLayout", "showPercentChange", "percentChangeColorMode", "reduceOptions", "text"},
		"timeseries":     {"legend", "tooltip", "timezone"},
		"state-timeline": {"alignValue", "mergeValues", "rowHeight", "showValue", "legend", "tooltip", "perPage"},
		"bargauge":       {"displayMode", "orientation", "showUnfilled", "valueMode", "minVizWidth", "minVizHeight", "maxVizHeight", "namePlacement", "sizing", "legend", "reduceOptions", "text"},
		"table":          {"cellHeight", "frameIndex", "showHeader", "footer", "sortBy"},
		"heatmap":        {"calculate", "calculation", "cellGap", "cellRadius", "color", "filterValues", "legend", "rowsFrame", "showValue", "tooltip", "yAxis", "exemplars"},
	}
	grafanaCustom = map[string][]string{
		"timeseries":     {"drawStyle", "lineInterpolation", "lineWidth", "lineStyle", "fillOpacity", "showPoints", "spanNulls", "stacking"},
		"state-timeline": {"fillOpacity", "lineWidth"},
		"table":          {"align", "filterable", "cellOptions", "inspect", "width"},
		"heatmap":        {"hideFrom", "scaleDistribution"},
	}
	grafanaDefaults   = []string{"unit", "mappings", "thresholds", "color", "custom", "min", "max"}
	grafanaProperties = []string{"unit", "min", "max", "color", "mappings", "thresholds", "links", "custom.width", "custom.cellOptions", "custom.lineStyle"}
	grafanaUnits      = []string{"percentunit", "celsius", "bytes", "s", "dateTimeAsIso", "none", "short"}
	grafanaPanels     = []string{"id", "type", "title", "description", "datasource", "gridPos", "targets", "options", "fieldConfig", "transformations"}
	grafanaTargets    = []string{"refId", "datasource", "expr", "editorMode", "legendFormat", "range", "instant", "format"}
)

// wholePanel is all of a panel.
type wholePanel struct {
	Type        string
	Title       string
	Options     map[string]any
	Targets     []map[string]any
	FieldConfig struct {
		Defaults  map[string]any
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct{ ID string }
		}
	}
	Transformations []struct {
		ID      string
		Options map[string]any
	}
}

// TestGrafanaKnowsIt holds every key of the dashboards to those that Grafana reads.
func TestGrafanaKnowsIt(t *testing.T) {
	for _, name := range []string{"host.json", "fleet.json"} {
		b, err := os.ReadFile(filepath.Join("../../deploy/grafana", name))
		if err != nil {
			t.Fatal(err)
		}
		var d struct{ Panels []json.RawMessage }
		if err := json.Unmarshal(b, &d); err != nil || len(d.Panels) < 10 {
			t.Fatalf("%s: %d panels, %v", name, len(d.Panels), err)
		}
		for _, raw := range d.Panels {
			var p wholePanel
			var keys map[string]any
			if err := json.Unmarshal(raw, &p); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &keys); err != nil {
				t.Fatal(err)
			}
			if p.Type != "row" {
				what := name + ", " + p.Title
				onlyOf(t, what+": panel", keys, grafanaPanels)
				panelIsKnown(t, what, &p)
			}
		}
	}
}

func panelIsKnown(t *testing.T, what string, p *wholePanel) {
	t.Helper()
	if grafanaOptions[p.Type] == nil {
		t.Errorf("%s: there is no panel %q", what, p.Type)
	}
	onlyOf(t, what+": options", p.Options, grafanaOptions[p.Type])
	onlyOf(t, what+": defaults", p.FieldConfig.Defaults, grafanaDefaults)
	if custom, ok := p.FieldConfig.Defaults["custom"].(map[string]any); ok {
		onlyOf(t, what+": custom", custom, grafanaCustom[p.Type])
	}
	if unit, _ := p.FieldConfig.Defaults["unit"].(string); !slices.Contains(grafanaUnits, unit) {
		t.Errorf("%s: unit %q", what, unit)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		onlyOf(t, what+": query", q, grafanaTargets)
		ref, _ := q["refId"].(string)
		if ref == "" || refs[ref] {
			t.Errorf("%s: two queries are %q", what, ref)
		}
		refs[ref] = true
	}
	titles := columnTitles(t, what, p)
	overridesAreKnown(t, what, p, titles, refs)
}

// columnTitles are what the transformations call a table's columns.
func columnTitles(t *testing.T, what string, p *wholePanel) []string {
	t.Helper()
	var titles []string
	for _, tr := range p.Transformations {
		switch tr.ID {
		case "merge":
		case "filterFieldsByName":
			include, _ := tr.Options["include"].(map[string]any)
			if names, _ := include["names"].([]any); len(names) == 0 {
				t.Errorf("%s: no column is let through: %v", what, tr.Options)
			}
		case "organize":
			onlyOf(t, what+": organize", tr.Options, []string{"excludeByName", "indexByName", "renameByName"})
			names, _ := tr.Options["renameByName"].(map[string]any)
			for _, n := range names {
				titles = append(titles, n.(string))
			}
		default:
			t.Errorf("%s: there is no transformation %q", what, tr.ID)
		}
	}
	return titles
}

func overridesAreKnown(t *testing.T, what string, p *wholePanel, titles []string, refs map[string]bool) {
	t.Helper()
	for _, o := range p.FieldConfig.Overrides {
		switch o.Matcher.ID {
		case "byName":
			if !slices.Contains(titles, o.Matcher.Options) {
				t.Errorf("%s: no column is called %q: %q", what, o.Matcher.Options, titles)
			}
		case "byFrameRefID":
			if !refs[o.Matcher.Options] {
				t.Errorf("%s: no query is %q", what, o.Matcher.Options)
			}
		default:
			t.Errorf("%s: there is no matcher %q", what, o.Matcher.ID)
		}
		for _, v := range o.Properties {
			if !slices.Contains(grafanaProperties, v.ID) {
				t.Errorf("%s: there is no property %q", what, v.ID)
			}
		}
	}
	sorts, _ := p.Options["sortBy"].([]any)
	for _, s := range sorts {
		if by, _ := s.(map[string]any)["displayName"].(string); !slices.Contains(titles, by) {
			t.Errorf("%s: it is sorted by %q, which is no column: %q", what, by, titles)
		}
	}
}

func onlyOf(t *testing.T, what string, have map[string]any, known []string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(have)) {
		if !slices.Contains(known, k) {
			t.Errorf("%s: %q is not known", what, k)
		}
	}
}
