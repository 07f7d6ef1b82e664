package main

// one is the host that is chosen.
const one = `cluster=~"$cluster", job=~"$job", instance="$instance"`

func host() object {
	return dashboard("lastgood-host", "lastgood: host", "Did this host come back the same way it went down?", list{
		variable("cluster", "Cluster", "lastgood_kernel_info", "cluster", true),
		variable("job", "Job", `lastgood_kernel_info{cluster=~"$cluster"}`, "job", true),
		variable("instance", "Host", `lastgood_kernel_info{cluster=~"$cluster", job=~"$job"}`, "instance", false),
	}, []section{
		{"As it is", glance()},
		{"What was found", found()},
		{"Programs and the verifier's limit", programs()},
		{"Heat", heat()},
		{"Hardware", hardware()},
		{"Gate, boot and notifications", gateAndBoot()},
		{"lastgood itself", itself()},
	})
}

func glance() []panel {
	return []panel{
		stat("Verdict", "Of the last check, against the last good boot.", 4, number, query{expr: verdictCode(one)}).worded(verdictWords),
		stat("Kernel", "That was checked.", 5, "", query{expr: `lastgood_kernel_info{` + one + `}`, legend: "{{release}}"}),
		stat("Last good kernel", "Of the boot that this one is held to.", 5, "", query{expr: `lastgood_baseline_info{` + one + `}`, legend: "{{release}}"}),
		stat("Accepted", "When the last good boot was accepted.", 4, when, query{expr: `lastgood_baseline_accepted_timestamp_seconds{` + one + `} * 1000`}),
		stat("Checked", "When the last check was begun.", 4, when, query{expr: `lastgood_check_timestamp_seconds{` + one + `} * 1000`}),
		stat("Workloads", "Whether the gate holds them back.", 2, number, query{expr: `lastgood_gate_held{` + one + `}`}).worded(words("0", "free", "green", "1", "HELD", "red")),
		states("Verdicts", "Of each check in turn.", 12, verdictWords, query{expr: verdictCode(one), legend: "verdict"}),
		states("Kernels", "That ran while this was scraped.", 12, words("1", "runs", "blue"), query{expr: `max by (release) (lastgood_kernel_info{` + one + `})`, legend: "{{release}}"}),
	}
}

func found() []panel {
	return []panel{
		table("Findings", "Of the last check. `lastgood check -v` on the host has the evidence.", 18, 9, number, []query{{expr: `lastgood_finding_info{` + one + `}`}},
			"severity", "Severity", "code", "Finding", "kind", "Kind", "name", "Name", "id", "Id", "attr", "Of it", "class", "Put down to").
			column("Severity", "mappings", severityWords, "custom.cellOptions", cell, "custom.width", 90).sorted("Severity", false),
		bars("Changed since the last good boot", "What the findings may be put down to.", 6, number, query{expr: `lastgood_attribution{` + one + `} == 1`, legend: "{{class}}"}).high(9).coloured(thresholds("blue")),
		lines("Findings by severity", "", 12, number, query{expr: `sum by (severity) (lastgood_findings{` + one + `})`, legend: "{{severity}}"}),
		lines("Not measured", "What could not be told, and how much of it keeps the verdict from being good.", 12, number,
			query{expr: `lastgood_incomplete{` + one + `}`, legend: "in all"}, query{expr: `lastgood_incomplete_counting{` + one + `}`, legend: "weighs on the verdict"}),
	}
}

func programs() []panel {
	return []panel{
		table("What is left of the limit", "Now and at the last good boot. Some built-in probes stand at the limit on purpose.", 12, 12, share,
			[]query{{expr: `program:lastgood_headroom:ratio{` + one + `}`}, {expr: `program:lastgood_baseline_headroom:ratio{` + one + `}`}},
			"kind", "Kind", "id", "Program", "Value #A", "Now", "Value #B", "Last good boot").
			column("Now", "custom.cellOptions", gauge, "min", 0, "max", 1, "color", object{"mode": "thresholds"}, "thresholds", object{"mode": "absolute", "steps": headroomSteps}).sorted("Now", false),
		lines("The ten workload programs that are nearest to it", "", 12, share,
			query{expr: `bottomk(10, program:lastgood_headroom:ratio{` + one + `, kind!="bpf.probe"})`, legend: "{{id}}"}).high(12),
		lines("Insns that the verifier walked", "The ten dearest programs of objects.", 12, "short", query{expr: `topk(10, lastgood_bpf_program_insns_processed{` + one + `})`, legend: "{{id}}"}),
		lines("Time in the verifier", "The ten slowest, one sample each: no verdict rests on it.", 12, seconds, query{expr: `topk(10, lastgood_bpf_program_verification_seconds{` + one + `})`, legend: "{{id}}"}),
		lines("Probes by the verifier's verdict", "Built-in programs; a limit probe is refused on purpose.", 12, number, query{expr: `lastgood_bpf_probe_verdict_subjects{` + one + `}`, legend: "{{verdict}}"}),
		lines("Memory of loaded programs and their maps", "", 12, bytesIs,
			query{expr: `sum(lastgood_bpf_loaded_set_programs_bytes{` + one + `})`, legend: "programs"}, query{expr: `sum(lastgood_bpf_loaded_set_maps_bytes{` + one + `})`, legend: "maps"}),
	}
}

func heat() []panel {
	limits := object{"matcher": object{"id": "byFrameRefID", "options": "B"}, "properties": list{
		object{"id": "custom.lineStyle", "value": object{"fill": "dash", "dash": list{10, 10}}}, object{"id": "color", "value": object{"mode": "fixed", "fixedColor": "red"}}}}
	over := lines("Temperatures and their limits", "As the last check read them. Limits are dashed.", 14, celsius,
		query{expr: `lastgood_hw_sensor_value_celsius{` + one + `}`, legend: "{{id}}"}, query{expr: `lastgood_hw_sensor_limit_celsius{` + one + `}`, legend: "limit of {{id}}"}).high(10)
	over.overrides = list{limits}
	return []panel{
		over,
		bars("What is left of the limit", "0 % is at the limit.", 10, share, query{expr: `lastgood_hw_sensor_value_celsius_headroom_ratio{` + one + `}`, legend: "{{id}}"}).high(10).coloured(thresholds("red", 0, "orange", 0.1, "green")),
	}
}

func hardware() []panel {
	return []panel{
		table("Drift", "What is not as it was at the last good boot: missing, new, renamed; lost is what could not be told this time.", 10, 9, number,
			[]query{{expr: `lastgood_drift_subjects{` + one + `} > 0`}}, "change", "Change", "kind", "Kind", "Value", "How many").sorted("Change", false),
		lines("Devices that are missing", "", 14, number, query{expr: `sum by (kind) (lastgood_drift_subjects{` + one + `, kind=~"(hw|net)[.].+", change="missing"}) > 0`, legend: "{{kind}}"}).high(9),
		table("Disks", "", 14, 9, bytesIs, []query{{expr: `lastgood_hw_disk_size_bytes{` + one + `} * on (cluster, job, instance, id) group_left (name, model, firmware) lastgood_hw_disk_info{` + one + `}`}},
			"name", "Name", "model", "Model", "firmware", "Firmware", "id", "Id", "Value", "Size"),
		table("Inventory", "How much of each kind was looked at.", 10, 9, number, []query{{expr: `sum by (kind) (lastgood_subjects{` + one + `, outcome="measured"})`}, {expr: `sum by (kind) (lastgood_subjects{` + one + `, outcome="inconclusive"})`}},
			"kind", "Kind", "Value #A", "Measured", "Value #B", "Could not be told"),
	}
}

func gateAndBoot() []panel {
	return []panel{
		stat("Gate", "Where this host stands between two kernels.", 4, "", query{expr: `lastgood_gate_step_info{` + one + `}`, legend: "{{step}}"}),
		stat("Held since", "", 4, when, query{expr: `lastgood_gate_held_since_timestamp_seconds{` + one + `} * 1000`}),
		stat("Bad boots in a row", "", 3, number, query{expr: `lastgood_gate_strikes{` + one + `}`}).coloured(thresholds("green", 1, "orange", 3, "red")),
		stat("Newest rollback", "", 5, "", query{expr: `lastgood_gate_rollback_info{` + one + `}`, legend: "{{from}} → {{to}}"}),
		stat("This boot", "How it came about.", 4, "", query{expr: `lastgood_boot_info{` + one + `}`, legend: "{{class}}"}),
		stat("Notifications waiting", "", 4, number, query{expr: `lastgood_notifications_waiting{` + one + `}`}).coloured(thresholds("green", 1, "orange")),
		table("Kernels that do not run yet", "The last preflight of each.", 12, 7, number, []query{{expr: `lastgood_preflight_verdict{` + one + `} == 1`}}, "kernel", "Kernel", "verdict", "Verdict"),
		lines("Boots that are kept, by verdict", "", 12, number, query{expr: `lastgood_boots{` + one + `}`, legend: "{{verdict}}"}).high(7),
	}
}

func itself() []panel {
	return []panel{
		lines("Age of the result", "It falls when a check ran.", 8, seconds, query{expr: `lastgood_result_age_seconds{` + one + `}`, legend: "age"}),
		bars("Time of each source", "In the last check.", 8, seconds, query{expr: `topk(15, lastgood_tool_source_took_seconds{` + one + `})`, legend: "{{id}}"}).coloured(thresholds("blue")),
		lines("Check and faults", "", 8, number, query{expr: `lastgood_check_faults{` + one + `}`, legend: "faults that the check met"}, query{expr: `lastgood_serve_faults{` + one + `}`, legend: "files that cannot be read"},
			query{expr: `sum(lastgood_metrics_series_dropped{` + one + `})`, legend: "series that were left out"}),
	}
}
