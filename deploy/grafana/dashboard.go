package main

import "fmt"

// section is a row of the dashboard and its panels.
type section struct {
	title  string
	panels []panel
}

// laid puts panels from left to right and from top to bottom.
func laid(sections []section) list {
	var out list
	id, y := 1, 0
	for _, s := range sections {
		out = append(out, object{"id": id, "type": "row", "title": s.title, "collapsed": false, "panels": list{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		id++
		y++
		x, deepest := 0, 0
		for _, p := range s.panels {
			if x+p.w > 24 {
				x, y, deepest = 0, y+deepest, 0
			}
			out = append(out, p.json(id, x, y))
			id++
			x, deepest = x+p.w, max(deepest, p.h)
		}
		y += deepest
	}
	return out
}

// variable is a choice made of a label's values.
func variable(name, title, metric, label string, several bool) object {
	q := fmt.Sprintf("label_values(%s, %s)", metric, label)
	v := object{"type": "query", "name": name, "label": title, "datasource": source, "definition": q, "hide": 0, "refresh": 2, "sort": 1, "regex": "", "skipUrlSync": false,
		"query": object{"qryType": 1, "query": q, "refId": "PrometheusVariableQueryEditor-VariableQuery"}, "multi": several, "includeAll": several, "options": list{}, "current": object{"text": "", "value": ""}}
	if several {
		v["allValue"] = ".*" // also where a series lacks the label
		v["current"] = object{"text": "All", "value": "$__all"}
	}
	return v
}

func dashboard(uid, title, doc string, variables list, sections []section) object {
	prometheus := object{"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "hide": 0, "refresh": 1, "regex": "", "skipUrlSync": false,
		"multi": false, "includeAll": false, "options": list{}, "current": object{"text": "default", "value": "default"}}
	return object{
		"uid": uid, "title": title, "description": doc, "tags": list{"lastgood"}, "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1,
		"timezone": "browser", "time": object{"from": "now-30d", "to": "now"}, "refresh": "5m", "timepicker": object{}, "weekStart": "", "fiscalYearStartMonth": 0, "liveNow": false, "id": nil,
		"links":       list{object{"type": "dashboards", "title": "lastgood", "tags": list{"lastgood"}, "asDropdown": false, "includeVars": true, "keepTime": true, "icon": "external link", "targetBlank": false, "tooltip": "", "url": ""}},
		"annotations": object{"list": list{object{"builtIn": 1, "type": "dashboard", "name": "Annotations & Alerts", "enable": true, "hide": true, "iconColor": "rgba(0, 211, 255, 1)", "datasource": object{"type": "grafana", "uid": "-- Grafana --"}}}},
		"templating":  object{"list": append(list{prometheus}, variables...)},
		"panels":      laid(sections),
		"__requires":  list{object{"type": "grafana", "id": "grafana", "name": "Grafana", "version": "11.0.0"}, object{"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"}},
	}
}

// verdictCode is the verdict as a number, for colours and words; best first.
func verdictCode(selector string) string {
	code := ""
	for i, v := range []string{"good", "learned", "incomplete", "invalid", "regressed"} {
		if i > 0 {
			code += " or "
		}
		code += fmt.Sprintf(`(lastgood_verdict{%s, verdict="%s"} == 1) * %d`, selector, v, i+1)
	}
	return "max by (cluster, job, instance) (" + code + ")"
}

var verdictWords = words("1", "good", "green", "2", "learned", "blue", "3", "incomplete", "yellow", "4", "invalid", "orange", "5", "REGRESSED", "red")

var severityWords = words("critical", "critical", "red", "warning", "warning", "orange", "info", "info", "blue")

// coloured cells, and gauges in cells.
var (
	cell  = object{"type": "color-text"}
	gauge = object{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
)

// headroomSteps are the rules' own: below a tenth and a fifth.
var headroomSteps = thresholds("red", 0.1, "orange", 0.2, "green")
