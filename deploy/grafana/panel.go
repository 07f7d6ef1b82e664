package main

import "strings"

// object is a part of a dashboard's JSON; encoding/json sorts its keys.
type object map[string]any

// list is an array of such parts.
type list []any

// Units, as Grafana calls them.
const (
	share   = "percentunit"
	celsius = "celsius"
	bytesIs = "bytes"
	seconds = "s"
	when    = "dateTimeAsIso" // milliseconds since 1970
	number  = "none"
)

// source is the Prometheus that is chosen above the dashboard.
var source = object{"type": "prometheus", "uid": "${datasource}"}

// query is an expression and what its series are called.
type query struct {
	expr, legend string
	table        bool // as a table of the newest values
	newest       bool // the newest value only
}

func (q query) json(ref string) object {
	out := object{"refId": ref, "datasource": source, "expr": strings.Join(strings.Fields(q.expr), " "), "editorMode": "code", "legendFormat": q.legend, "range": true, "instant": false, "format": "time_series"}
	if q.newest || q.table {
		out["range"], out["instant"] = false, true
	}
	if q.table {
		out["format"] = "table"
	}
	return out
}

// panel is one panel: its size in the grid of 24 columns, and what it shows.
type panel struct {
	kind, title, doc string
	w, h             int
	unit             string
	queries          []query
	options          object
	custom           object // fieldConfig.defaults.custom
	mappings         list
	steps            list // thresholds
	overrides        list
	transformations  list
}

func (p panel) json(id, x, y int) object {
	var targets list
	for i, q := range p.queries {
		targets = append(targets, q.json(string(rune('A'+i))))
	}
	defaults := object{"unit": p.unit, "mappings": orEmpty(p.mappings), "thresholds": object{"mode": "absolute", "steps": p.steps}, "color": object{"mode": "palette-classic"}}
	if p.steps == nil {
		defaults["thresholds"] = object{"mode": "absolute", "steps": list{object{"color": "text", "value": nil}}}
	} else {
		defaults["color"] = object{"mode": "thresholds"}
	}
	if p.mappings != nil {
		defaults["color"] = object{"mode": "thresholds"}
	}
	if p.custom != nil {
		defaults["custom"] = p.custom
	}
	return object{
		"id": id, "type": p.kind, "title": p.title, "description": p.doc, "datasource": source, "gridPos": object{"x": x, "y": y, "w": p.w, "h": p.h},
		"targets": targets, "options": p.options, "fieldConfig": object{"defaults": defaults, "overrides": orEmpty(p.overrides)}, "transformations": orEmpty(p.transformations),
	}
}

func orEmpty(l list) list {
	if l == nil {
		return list{}
	}
	return l
}

// thresholds are colours from values on, the first from the smallest.
func thresholds(first string, more ...any) list {
	out := list{object{"color": first, "value": nil}}
	for i := 0; i+1 < len(more); i += 2 {
		out = append(out, object{"value": more[i], "color": more[i+1]})
	}
	return out
}

// words map values to a word and a colour: value, word, colour in turn.
func words(triples ...string) list {
	options := object{}
	for i := 0; i+2 < len(triples); i += 3 {
		options[triples[i]] = object{"text": triples[i+1], "color": triples[i+2], "index": i / 3}
	}
	return list{object{"type": "value", "options": options}}
}

// stat shows one number, or one name where the unit is "".
func stat(title, doc string, w int, unit string, q query) panel {
	q.newest = true
	mode := "value"
	if unit == "" {
		mode, unit = "name", number
	}
	return panel{kind: "stat", title: title, doc: doc, w: w, h: 4, unit: unit, queries: []query{q}, options: object{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": mode, "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
		"reduceOptions": object{"calcs": list{"lastNotNull"}, "fields": "", "values": false}}}
}

// lines are series over time.
func lines(title, doc string, w int, unit string, queries ...query) panel {
	return panel{kind: "timeseries", title: title, doc: doc, w: w, h: 8, unit: unit, queries: queries,
		custom: object{"drawStyle": "line", "lineInterpolation": "stepAfter", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": false},
		options: object{"legend": object{"displayMode": "table", "placement": "right", "showLegend": true, "calcs": list{"lastNotNull"}},
			"tooltip": object{"mode": "multi", "sort": "desc"}}}
}

// states are words over time, a row a series.
func states(title, doc string, w int, mappings list, q query) panel {
	return panel{kind: "state-timeline", title: title, doc: doc, w: w, h: 8, unit: number, queries: []query{q}, mappings: mappings,
		custom:  object{"fillOpacity": 80, "lineWidth": 0},
		options: object{"alignValue": "left", "mergeValues": true, "rowHeight": 0.9, "showValue": "auto", "legend": object{"calcs": list{}, "displayMode": "list", "placement": "bottom", "showLegend": false}, "tooltip": object{"mode": "single", "sort": "none"}}}
}

// bars are the newest values beside one another.
func bars(title, doc string, w int, unit string, q query) panel {
	q.newest = true
	return panel{kind: "bargauge", title: title, doc: doc, w: w, h: 8, unit: unit, queries: []query{q}, options: object{
		"displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300, "namePlacement": "left", "sizing": "auto",
		"legend":        object{"calcs": list{}, "displayMode": "list", "placement": "bottom", "showLegend": false},
		"reduceOptions": object{"calcs": list{"lastNotNull"}, "fields": "", "values": false}}}
}

// table shows the newest values of its queries side by side. columns are labels and their titles in turn, in order; of
// several queries the values are columns "Value #A", "Value #B". Whatever else the series bear is left out: discovery
// gives each a handful of labels more.
func table(title, doc string, w, h int, unit string, queries []query, columns ...string) panel {
	names, order, shown := object{}, object{}, list{}
	for i := 0; i+1 < len(columns); i += 2 {
		names[columns[i]], order[columns[i]], shown = columns[i+1], i/2, append(shown, columns[i])
	}
	for i := range queries {
		queries[i].table = true
	}
	return panel{kind: "table", title: title, doc: doc, w: w, h: h, unit: unit, queries: queries,
		custom:  object{"align": "auto", "filterable": true, "cellOptions": object{"type": "auto"}, "inspect": false},
		options: object{"cellHeight": "sm", "frameIndex": 0, "showHeader": true, "footer": object{"show": false, "reducer": list{"sum"}, "fields": "", "countRows": false}, "sortBy": list{}},
		transformations: list{
			object{"id": "merge", "options": object{}},
			object{"id": "filterFieldsByName", "options": object{"include": object{"names": shown}}},
			object{"id": "organize", "options": object{"excludeByName": object{}, "indexByName": order, "renameByName": names}},
		}}
}

// sorted orders a table by a column, as it is titled.
func (p panel) sorted(column string, desc bool) panel {
	p.options["sortBy"] = list{object{"displayName": column, "desc": desc}}
	return p
}

// column changes properties of the column of that title: name and value in turn.
func (p panel) column(title string, properties ...any) panel {
	var set list
	for i := 0; i+1 < len(properties); i += 2 {
		set = append(set, object{"id": properties[i], "value": properties[i+1]})
	}
	p.overrides = append(p.overrides, object{"matcher": object{"id": "byName", "options": title}, "properties": set})
	return p
}

func (p panel) coloured(steps list) panel { p.steps = steps; return p }

func (p panel) worded(mappings list) panel { p.mappings = mappings; return p }

func (p panel) high(h int) panel { p.h = h; return p }
