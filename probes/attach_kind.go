package probes

import "lastgood/internal/snapshot"

// AttachKind is the name of the kind of attachment points.
const AttachKind = "bpf.attach"

// attachDeclaration declares what is known of an attachment point on one kernel.
var attachDeclaration = snapshot.Kind{
	Name:     AttachKind,
	Doc:      "A place that programs are attached to, and what a small one did there.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "program", Doc: "digest of the program and its maps; two measurements of unlike programs are not compared"},
		{Name: "offered", Order: []string{"yes", "no"}, Doc: "no where the kernel does not have the place, or something that the program is made of; the subject is unsupported then"},
		{Name: "attached", Order: []string{"yes", "no"}, Doc: "whether the kernel took the program"},
		{Name: "works", Order: []string{"right", "wrong"}, Doc: "whether what the program did to packets, connections and calls is what it was made to do"},
		{Name: "answer", Order: []string{"accepted", "refused"}, Doc: "whether the kernel lets the second program into a table of the first's kind"},
		{Name: "alike", Doc: "whether the two programs are of one type, hook and prototype"},
		{Name: "packets_sent", Unit: snapshot.Count, Doc: "frames that were sent through the program"},
		{Name: "packets_seen", Unit: snapshot.Count, Doc: "frames that the program counted"},
		{Name: "bytes_seen", Unit: snapshot.Bytes, Doc: "length of these, as the program saw it"},
		{Name: "runs", Unit: snapshot.Count, Doc: "how often the program ran, where it is no packet's"},
		{Name: "seconds", Unit: snapshot.Seconds, Better: snapshot.LowerBetter, Noise: snapshot.Sampled, Doc: "time of it all, most of it waiting for the kernel to be sure that nobody runs a detached program any more"},
		{Name: "cause", Noise: snapshot.Evidence, Doc: "what the kernel said, or what came out otherwise than it should"},
	},
	Rules: attachRules,
}

// attachRules are the defaults. A program that is attached and does something else is
// no better than one that is refused: it takes part in nobody's error handling.
var attachRules = []snapshot.Rule{
	{Code: "attach-refused", On: snapshot.OnBecomes, Attr: "attached", From: []string{"yes"}, To: []string{"no"}, Unless: sameProgram, Topic: "attach",
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel no longer takes the program: {attr:cause}",
		Hint:    "agents that attach there fail on this kernel"},
	{Code: "attach-accepted", On: snapshot.OnBecomes, Attr: "attached", From: []string{"no"}, To: []string{"yes"}, Unless: sameProgram, Topic: "attach",
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel takes the program now"},
	{Code: "attach-wrong", On: snapshot.OnBecomes, Attr: "works", From: []string{"right"}, To: []string{"wrong"}, Unless: sameProgram, Topic: "attach",
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the program is attached and does something else than it did: {attr:cause}",
		Hint:    "networking, policy or device access that is built on it does not do what it says on this kernel"},
	{Code: "attach-right", On: snapshot.OnBecomes, Attr: "works", From: []string{"wrong"}, To: []string{"right"}, Unless: sameProgram, Topic: "attach",
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the attached program does what it is made to do now"},
	{Code: "attach-unsupported", On: snapshot.OnMissing, Where: map[string]string{"offered": "no"}, Topic: "attach",
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel no longer has it: {attr:cause}",
		Hint:    "check the kernel's configuration and whether its modules can be loaded"},
	{Code: "prog-array-refused", On: snapshot.OnBecomes, Attr: "answer", From: []string{"accepted"}, To: []string{"refused"}, Where: map[string]string{"alike": "yes"}, Unless: sameProgram, Topic: "answer",
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel no longer lets this program into the table: {attr:cause}",
		Hint:    "programs that call each other through tables of programs fail to load on this kernel"},
	{Code: "prog-array-stricter", On: snapshot.OnBecomes, Attr: "answer", From: []string{"accepted"}, To: []string{"refused"}, Where: map[string]string{"alike": "no"}, Unless: sameProgram, Topic: "answer",
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel no longer lets programs that differ in this way into one table",
		Hint:    "agents that share a table of programs between such hooks fail to load on this kernel"},
	{Code: "prog-array-accepted", On: snapshot.OnBecomes, Attr: "answer", From: []string{"refused"}, To: []string{"accepted"}, Unless: sameProgram, Topic: "answer",
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "{name}: the kernel lets this program into the table now"},
}
