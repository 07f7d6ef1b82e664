package probes

import "lastgood/internal/snapshot"

// Kinds of what a kernel offers to the programs of this node.
const (
	kindType       = "kernel.type"
	kindKfunc      = "kernel.kfunc"
	kindTracepoint = "kernel.tracepoint"
	kindSymbol     = "kernel.symbol"
	kindOption     = "kernel.option"
	kindSurface    = "kernel.surface"
)

// Values of the attributes available, symbol, typed and traceable.
const (
	hasIt    = "yes"
	inModule = "module"  // a module has it, which may be loaded at another time
	renamed  = "renamed" // under a suffix of the compiler's only
	lacksIt  = "no"
)

// Values of the attribute use.
const (
	useRequired = "required"
	useAsked    = "asked" // programs ask for it and know another way
)

// SurfaceKinds are the kinds that Surface gives.
func SurfaceKinds() []snapshot.Kind {
	return []snapshot.Kind{surfaceType, surfaceKfunc, surfaceTracepoint, surfaceSymbol, surfaceOption, surfaceRest}
}

var usersAttr = snapshot.Attr{Name: "users", Noise: snapshot.Evidence, Doc: "the objects whose programs use it"}

var surfaceType = snapshot.Kind{
	Name:     kindType,
	Doc:      "A type, field or enumeration value of the kernel's that CO-RE relocations of this node's programs name.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "available", Order: []string{hasIt, lacksIt}, Doc: "whether the kernel has it, in a form that the relocation can be made to"},
		{Name: "use", Doc: "required, or asked where the programs ask for it first and know another way"},
		{Name: "layout", Doc: "place, size and type of a field, number of a value, size of a type; relocated when a program is loaded, so a change is told in one line for all (kernel.surface/layouts)"},
		usersAttr,
	},
	Rules: []snapshot.Rule{
		{Code: "type-gone", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt}, To: []string{lacksIt}, Where: map[string]string{"use": useRequired},
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "the kernel no longer has {name}, which {attr:users} reaches for",
			Hint:    "a program that uses it without asking is refused; stay on the last good kernel until its agent knows this one"},
		{Code: "type-gone-asked", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt}, To: []string{lacksIt}, Where: map[string]string{"use": useAsked},
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel no longer has {name}; the programs that use it ask for it first"},
		{Code: "type-back", On: snapshot.OnBecomes, Attr: "available", From: []string{lacksIt}, To: []string{hasIt},
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel has {name} now"},
	},
}

var surfaceKfunc = snapshot.Kind{
	Name:     kindKfunc,
	Doc:      "A kernel function that this node's programs call.",
	Required: true,
	Attrs: []snapshot.Attr{
		{Name: "available", Order: []string{hasIt, inModule, lacksIt}, Doc: "whether type information has it: yes (the kernel's own), module (that of a loaded module) or no"},
		{Name: "use", Doc: "required, or asked where the programs declare it weak"},
		{Name: "prototype", Doc: "result and parameters by type, and the suffixes of parameters' names that the verifier reads"},
		{Name: "tagged", Order: []string{hasIt, lacksIt}, Doc: "whether type information marks it as a function that programs may call (bpf_kfunc); only where functions are marked at all"},
		{Name: "module", Noise: snapshot.Evidence, Doc: "the module that has it"},
		usersAttr,
	},
	Rules: []snapshot.Rule{
		{Code: "kfunc-gone", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt}, To: []string{lacksIt}, Where: map[string]string{"use": useRequired},
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "the kernel function {name} is gone, which {attr:users} calls",
			Hint:    "objects that call it fail before the verifier sees them; stay on the last good kernel until the agent knows this one"},
		{Code: "kfunc-module-gone", On: snapshot.OnBecomes, Attr: "available", From: []string{inModule}, To: []string{lacksIt}, Where: map[string]string{"use": useRequired},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "no loaded module has the kernel function {name}, which {attr:users} calls",
			Hint:    "if its module is only not loaded yet there is nothing to mend: see /proc/modules"},
		{Code: "kfunc-untagged", On: snapshot.OnBecomes, Attr: "tagged", From: []string{hasIt}, To: []string{lacksIt}, Topic: "available",
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the kernel still has the function {name}, but no longer marks it as one that programs may call, as {attr:users} does",
			Hint:    "it may be on its way out, or be called by another name now; try the agent on this kernel first"},
		{Code: "kfunc-gone-weak", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt, inModule}, To: []string{lacksIt}, Where: map[string]string{"use": useAsked},
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel function {name} is gone; programs that call it ask for it first"},
		{Code: "kfunc-to-module", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt}, To: []string{inModule},
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the kernel function {name} is in a module now, which must be loaded before {attr:users}"},
		{Code: "kfunc-changed", On: snapshot.OnChanged, Attr: "prototype",
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the kernel function {name} was {old} and is {new}",
			Hint:    "an object that declares it the old way may be refused: try its agent on this kernel first"},
	},
}

var surfaceTracepoint = snapshot.Kind{
	Name: kindTracepoint,
	Doc:  "A tracepoint that this node's programs are attached to: its record (ID record/CATEGORY/NAME, out of tracefs) or its arguments (ID raw/NAME, out of type information).",
	Attrs: []snapshot.Attr{
		{Name: "available", Order: []string{hasIt, inModule, lacksIt}, Doc: "whether there is such a tracepoint: yes, module (it is not the kernel image's own) or no"},
		{Name: "fields", Doc: "fields of the record as NAME OFFSET:SIZE, the ones common to all records among them"},
		{Name: "arguments", Doc: "arguments of a raw tracepoint, by number and type"},
		usersAttr,
	},
	Rules: []snapshot.Rule{
		{Code: "tracepoint-gone", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt}, To: []string{lacksIt},
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "the tracepoint {name} is gone, which {attr:users} is attached to",
			Hint:    "the program loads and cannot be attached; stay on the last good kernel until the agent knows this one"},
		{Code: "tracepoint-module-gone", On: snapshot.OnBecomes, Attr: "available", From: []string{inModule}, To: []string{lacksIt},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the tracepoint {name} is not there, which {attr:users} is attached to",
			Hint:    "it was no part of the kernel image: its module may only not be loaded yet"},
		{Code: "tracepoint-record-changed", On: snapshot.OnWorse, Attr: "fields",
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the record of {name}, which {attr:users} reads, is another: had {lost}; has {gained}",
			Hint:    "programs that read it by offset read something else, or the kernel refuses to attach them (EACCES) where they read beyond its end"},
		{Code: "tracepoint-record-grew", On: snapshot.OnBetter, Attr: "fields",
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "the record of {name} has {gained} besides; what was there stands where it stood"},
		{Code: "tracepoint-arguments-changed", On: snapshot.OnWorse, Attr: "arguments",
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "the arguments of {name}, which {attr:users} takes, are others: had {lost}; has {gained}",
			Hint:    "programs that take them by number read something else, or are refused"},
		{Code: "tracepoint-arguments-grew", On: snapshot.OnBetter, Attr: "arguments",
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "{name} hands {gained} to programs besides what it did"},
	},
}

var surfaceSymbol = snapshot.Kind{
	Name: kindSymbol,
	Doc:  "A function of the kernel's that this node's programs are attached to (ID HOW/NAME; HOW is kprobe, kprobe.multi, fentry, lsm or iter).",
	Attrs: []snapshot.Attr{
		{Name: "attach", Doc: "how programs are attached to it"},
		{Name: "symbol", Order: []string{hasIt, inModule, renamed, lacksIt}, Doc: "whether /proc/kallsyms has it: yes, module, renamed (only with a suffix of the compiler's: .isra, .constprop, .part, .cold, .llvm) or no"},
		{Name: "copies", Unit: snapshot.Count, Doc: "functions of exactly this name, or, of a pattern, 1 where it fits any; a kprobe by a name that several have is refused since 6.7"},
		{Name: "traceable", Order: []string{hasIt, lacksIt}, Doc: "whether ftrace lists it (available_filter_functions)"},
		{Name: "typed", Order: []string{hasIt, inModule, lacksIt}, Doc: "whether type information has it"},
		{Name: "called", Noise: snapshot.Evidence, Doc: "the suffixed name that it goes by"},
		usersAttr,
	},
	Rules: symbolRules,
}

var symbolRules = []snapshot.Rule{
	{Code: "symbol-renamed", On: snapshot.OnBecomes, Attr: "symbol", From: []string{hasIt}, To: []string{renamed},
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "{name} is called {attr:called} now: {attr:users} cannot be attached to it by its name",
		Hint:    "the compiler made another function of it, whose parameters may differ; see whether its agent knows the new name"},
	{Code: "symbol-gone", On: snapshot.OnBecomes, Attr: "symbol", From: []string{hasIt}, To: []string{lacksIt},
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "the kernel has no function {name} any more, which {attr:users} is attached to",
		Hint:    "it was removed, renamed or made part of its callers; the agent needs another place to attach to"},
	{Code: "symbol-module-gone", On: snapshot.OnBecomes, Attr: "symbol", From: []string{inModule}, To: []string{renamed, lacksIt},
		Severity: snapshot.Warning, Class: snapshot.ClassKernel,
		Message: "no loaded module has the function {name}, which {attr:users} is attached to",
		Hint:    "if its module is only not loaded yet there is nothing to mend: see /proc/modules"},
	{Code: "symbol-ambiguous", On: snapshot.OnBecomes, Attr: "copies", From: []string{"1"},
		Severity: snapshot.Warning, Class: snapshot.ClassKernel, Where: map[string]string{"attach": "kprobe", "symbol": hasIt},
		Message: "{new} functions are called {name} now, where one was: a kprobe by that name is refused, or set on any of them"},
	{Code: "symbol-untyped", On: snapshot.OnBecomes, Attr: "typed", From: []string{hasIt}, To: []string{lacksIt},
		Severity: snapshot.Critical, Class: snapshot.ClassKernel, Topic: "symbol",
		Message: "type information has no function {name} any more, which {attr:users} is attached to"},
	{Code: "symbol-module-untyped", On: snapshot.OnBecomes, Attr: "typed", From: []string{inModule}, To: []string{lacksIt},
		Severity: snapshot.Warning, Class: snapshot.ClassKernel, Topic: "symbol",
		Message: "no loaded module's type information has the function {name}, which {attr:users} is attached to",
		Hint:    "if its module is only not loaded yet there is nothing to mend: see /proc/modules"},
	untraceable("fentry", snapshot.Critical),
	untraceable("kprobe.multi", snapshot.Critical),
	untraceable("kprobe", snapshot.Info),
}

// untraceable: a kprobe is set without ftrace then, by a breakpoint, which is slower.
func untraceable(attach string, severity snapshot.Severity) snapshot.Rule {
	r := snapshot.Rule{Code: "symbol-untraceable-" + map[string]string{"fentry": "entry", "kprobe.multi": "multi", "kprobe": "kprobe"}[attach],
		On: snapshot.OnBecomes, Attr: "traceable", From: []string{hasIt}, To: []string{lacksIt}, Where: map[string]string{"attach": attach}, Topic: "symbol",
		Severity: severity, Class: snapshot.ClassKernel,
		Message: "ftrace no longer lists {name}: {attr:users} cannot be attached to it"}
	if attach == "kprobe" {
		r.Message = "ftrace no longer lists {name}: a kprobe on it is a breakpoint now, and slower"
	}
	return r
}

var surfaceOption = snapshot.Kind{
	Name: kindOption,
	Doc:  "An option of the kernel's configuration that this node's programs or their agent need.",
	Attrs: []snapshot.Attr{
		{Name: "value", Order: []string{"y", "m", lacksIt}, Doc: "y, m (a module) or no"},
		{Name: "need", Doc: "programs: a program of its type is among the objects; cilium: Cilium is, whose system requirements name it"},
	},
	Rules: []snapshot.Rule{
		{Code: "option-lost", On: snapshot.OnBecomes, Attr: "value", From: []string{"y", "m"}, To: []string{lacksIt}, Where: map[string]string{"need": needPrograms},
			Severity: snapshot.Critical, Class: snapshot.ClassKernel,
			Message: "{name} is not set in this kernel, and programs of this node need it",
			Hint:    "choose a kernel that is built with it"},
		{Code: "option-lost-agent", On: snapshot.OnBecomes, Attr: "value", From: []string{"y", "m"}, To: []string{lacksIt}, Where: map[string]string{"need": needCilium},
			Severity: snapshot.Warning, Class: snapshot.ClassKernel,
			Message: "{name} is not set in this kernel; Cilium's system requirements name it",
			Hint:    "choose a kernel that is built with it, if the feature that needs it is in use"},
		{Code: "option-now-module", On: snapshot.OnBecomes, Attr: "value", From: []string{"y"}, To: []string{"m"},
			Severity: snapshot.Info, Class: snapshot.ClassKernel,
			Message: "{name} is a module now"},
	},
}

var surfaceRest = snapshot.Kind{
	Name: kindSurface,
	Doc: "What the kernel offers to BPF programs besides what this node's programs use, class by class: a change of it is told in one line. " +
		"object/NAME stands for an object that could not be read.",
	Attrs: []snapshot.Attr{
		{Name: "class", Doc: "types, kfuncs, tracepoints, records, options or layouts"},
		{Name: "available", Order: []string{hasIt, lacksIt}, Doc: "of types: whether the kernel has type information"},
		{Name: "use", Doc: "of types: whether this node's programs need it: required or nobody"},
		{Name: "kinds", Better: snapshot.HigherBetter, Doc: "of types: the kinds of BTF that occur"},
		{Name: "histogram", Noise: snapshot.Evidence, Doc: "of types: how many types there are of each kind"},
		{Name: "needs", Doc: "of layouts: digest of what was looked at"},
		{Name: "total", Unit: snapshot.Count, Doc: "how many there are"},
		{Name: "members", Doc: "each with a hash of what programs depend on; of tracepoints and records, which are many, each of 64 parts of them with its hash"},
	},
	Rules: restRules,
}

var restRules = []snapshot.Rule{
	{Code: "type-information-lost", On: snapshot.OnBecomes, Attr: "available", From: []string{hasIt}, To: []string{lacksIt}, Where: map[string]string{"use": useRequired},
		Severity: snapshot.Critical, Class: snapshot.ClassKernel,
		Message: "this kernel has no type information, and programs of this node are relocated or attached by it",
		Hint:    "choose a kernel that is built with CONFIG_DEBUG_INFO_BTF"},
	{Code: "type-kinds-gained", On: snapshot.OnBetter, Attr: "kinds", Topic: "kinds",
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "the kernel's type information has {gained} now: loaders that are older than that do not read it"},
	{Code: "type-kinds-lost", On: snapshot.OnWorse, Attr: "kinds", Topic: "kinds",
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "the kernel's type information has {lost} no longer: another pahole made it"},
	restRule("kfuncs", "kernel functions for programs: {gained_count} are new or have a new prototype, {lost_count} are gone or had another; those that programs here call are told by themselves"),
	restRule("tracepoints", "arguments of at least {gained_count} tracepoints changed, or they came or went"),
	restRule("records", "at least {gained_count} classes of trace records are laid out anew, came or went"),
	restRule("options", "options that BPF agents may need and none here does: were {lost}; are {gained}"),
	{Code: "layouts-changed", On: snapshot.OnChanged, Attr: "members", Where: map[string]string{"class": "layouts"}, Unless: []string{"needs"},
		Severity: snapshot.Info, Class: snapshot.ClassKernel,
		Message: "types that programs of this node read are laid out anew ({gained_count}); CO-RE relocates the accesses by itself: {gained}"},
}

func restRule(class, message string) snapshot.Rule {
	return snapshot.Rule{Code: class + "-changed", On: snapshot.OnChanged, Attr: "members", Where: map[string]string{"class": class},
		Severity: snapshot.Info, Class: snapshot.ClassKernel, Message: message}
}
