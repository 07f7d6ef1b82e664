package main

// many are the hosts that are chosen.
const many = `cluster=~"$cluster", job=~"$job"`

// toHost is a link from a cell to the host's own dashboard.
var toHost = list{object{"title": "this host", "targetBlank": false, "url": "/d/lastgood-host/lastgood-host?var-datasource=${datasource}&var-cluster=$__all&var-job=$__all&var-instance=${__value.text}"}}

func fleet() object {
	return dashboard("lastgood-fleet", "lastgood: fleet", "Which kernels run, which hosts came back worse, and what they have in common.", list{
		variable("cluster", "Cluster", "lastgood_kernel_info", "cluster", true),
		variable("job", "Job", `lastgood_kernel_info{cluster=~"$cluster"}`, "job", true),
	}, []section{
		{"As it is", numbers()},
		{"Kernels", kernels()},
		{"Hosts", hosts()},
		{"Programs and the verifier's limit", headroom()},
		{"Drift", drift()},
	})
}

func numbers() []panel {
	bad := thresholds("green", 1, "red")
	count := func(title, doc, expr string, steps list) panel {
		return stat(title, doc, 4, number, query{expr: expr}).coloured(steps)
	}
	return []panel{
		count("Hosts", "That have a result.", `count(lastgood_kernel_info{`+many+`}) or vector(0)`, thresholds("text")),
		count("Regressed", "", `sum(lastgood_verdict{`+many+`, verdict="regressed"}) or vector(0)`, bad),
		count("Fell back", "They run another kernel than was meant.", `count(lastgood_boot_info{`+many+`, class="fell back"}) or vector(0)`, bad),
		count("Held", "Their workloads are kept back.", `sum(lastgood_gate_held{`+many+`}) or vector(0)`, bad),
		count("Not judged since boot", "With those that never were.", `count(lastgood_result_of_this_boot{`+many+`} == 0 or lastgood_result_present{`+many+`} == 0) or vector(0)`, thresholds("green", 1, "orange")),
		count("Do not answer", "Targets of these jobs, whatever else is scraped by them.", `count(up{`+many+`, job="lastgood"} == 0) or vector(0)`, bad),
		lines("Hosts by verdict", "", 12, number, query{expr: `sum by (verdict) (lastgood_verdict{` + many + `})`, legend: "{{verdict}}"}),
		table("Alerts", "", 12, 8, number, []query{{expr: `max by (severity, alertname, instance, id) (ALERTS{` + many + `, alertname=~"Lastgood.+", alertstate="firing"})`}}, "severity", "Severity", "alertname", "Alert", "instance", "Host", "id", "Of").
			column("Severity", "mappings", severityWords, "custom.cellOptions", cell, "custom.width", 90).column("Host", "links", toHost),
	}
}

func kernels() []panel {
	shown := table("Kernels in use", "A build is told from another one by its build-id.", 10, 9, number,
		[]query{{expr: `kernel:lastgood_hosts:count{` + many + `}`}, {expr: `kernel:lastgood_hosts:ratio{` + many + `}`}},
		"release", "Release", "build_id", "Build-id", "arch", "Arch", "Value #A", "Hosts", "Value #B", "Share").
		column("Share", "unit", share, "min", 0, "max", 1, "custom.cellOptions", gauge, "color", object{"mode": "fixed", "fixedColor": "blue"}).sorted("Hosts", true)
	stacked := lines("Hosts by kernel", "A rollout as it goes.", 14, number, query{expr: `count by (release) (lastgood_kernel_info{` + many + `})`, legend: "{{release}}"}).high(9)
	stacked.custom["stacking"], stacked.custom["fillOpacity"] = object{"mode": "normal", "group": "A"}, 40
	perKernel := func(verdict string) string {
		return `sum by (release) (lastgood_verdict{` + many + `, verdict="` + verdict + `"} * on (cluster, job, instance) group_left (release) lastgood_kernel_info{` + many + `})`
	}
	return []panel{
		shown, stacked,
		table("Verdicts by kernel", "A kernel on which many hosts regressed is the first suspect.", 10, 8, number, []query{{expr: perKernel("regressed")}, {expr: perKernel("good")}}, "release", "Release", "Value #A", "Regressed", "Value #B", "Good").
			column("Regressed", "thresholds", object{"mode": "absolute", "steps": thresholds("text", 1, "red")}, "color", object{"mode": "thresholds"}, "custom.cellOptions", cell).sorted("Regressed", true),
		table("What is found most", "A finding that many hosts share is seldom their hardware.", 14, 8, number, []query{{expr: `sum by (code, severity) (lastgood_findings_by_code{` + many + `})`}}, "severity", "Severity", "code", "Finding", "Value", "Findings").
			column("Severity", "mappings", severityWords, "custom.cellOptions", cell, "custom.width", 90).sorted("Findings", true),
	}
}

func hosts() []panel {
	return []panel{
		states("Verdicts", "The forty hosts that are worst now.", 24, verdictWords, query{expr: `topk(40, ` + verdictCode(many) + `)`, legend: "{{instance}}"}).high(12),
		table("Held hosts", "And since when.", 8, 8, when, []query{{expr: `lastgood_gate_held_since_timestamp_seconds{` + many + `} * 1000`}}, "instance", "Host", "Value", "Since").column("Host", "links", toHost),
		table("Rolled back", "Between which kernels.", 8, 8, number, []query{{expr: `lastgood_gate_rollback_info{` + many + `}`}}, "instance", "Host", "from", "From", "to", "To").column("Host", "links", toHost),
		table("Stale hosts", "Checked more than thirty days ago, or in an earlier boot.", 8, 8, when,
			[]query{{expr: `1000 * (lastgood_check_timestamp_seconds{` + many + `} < time() - 30 * 86400 or lastgood_check_timestamp_seconds{` + many + `} and on (cluster, job, instance) (lastgood_result_of_this_boot{` + many + `} == 0 or lastgood_serve_stale{` + many + `} == 1))`}},
			"instance", "Host", "Value", "Checked").column("Host", "links", toHost).sorted("Checked", false),
	}
}

func headroom() []panel {
	// Prometheus counts the hosts: a series for each of ten thousand is more than a browser draws.
	p := lines("Headroom of the workloads", "How many hosts have how much left for their dearest program, in steps of 5 %.", 14, number, query{expr: `count_values("left", floor(20 * instance:lastgood_workload_headroom:min{` + many + `}) / 20)`, legend: "{{left}}"}).high(10)
	p.kind = "heatmap"
	p.custom = object{"hideFrom": object{"legend": false, "tooltip": false, "viz": false}, "scaleDistribution": object{"type": "linear"}}
	p.options = object{"calculate": false, // each series is a row, called by its lower end
		"cellGap": 1, "color": object{"mode": "scheme", "scheme": "Blues", "scale": "exponential", "exponent": 0.5, "fill": "dark-blue", "steps": 64, "reverse": true}, "filterValues": object{"le": 1e-9},
		"legend": object{"show": true}, "rowsFrame": object{"layout": "ge", "value": "Hosts"}, "showValue": "never", "tooltip": object{"mode": "single", "yHistogram": true, "showColorScale": false},
		"yAxis": object{"axisPlacement": "left", "reverse": false, "unit": share}, "exemplars": object{"color": "rgba(255,0,255,0.7)"}}
	return []panel{
		p,
		table("Least headroom", "The twenty programs that are nearest to the limit.", 10, 10, share, []query{{expr: `bottomk(20, program:lastgood_headroom:ratio{` + many + `, kind!="bpf.probe"})`}}, "instance", "Host", "id", "Program", "Value", "Left").
			column("Host", "links", toHost).column("Left", "thresholds", object{"mode": "absolute", "steps": headroomSteps}, "color", object{"mode": "thresholds"}, "custom.cellOptions", cell).sorted("Left", false),
	}
}

func drift() []panel {
	return []panel{
		table("Drift", "Kinds of which something is missing, new or known by another name against the last good boot.", 14, 10, number,
			[]query{{expr: `lastgood_drift_subjects{` + many + `, change=~"missing|new|renamed|lost"} > 0`}}, "instance", "Host", "change", "Change", "kind", "Kind", "Value", "How many").column("Host", "links", toHost).sorted("Change", false),
		lines("Missing devices", "", 10, number, query{expr: `instance:lastgood_missing_devices:sum{` + many + `} > 0`, legend: "{{instance}}"}).high(10),
	}
}
