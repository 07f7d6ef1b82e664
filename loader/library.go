package loader

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// throughLibrary loads a program whose references only cilium/ebpf can resolve.
// With statistics on from the start and a buffer they fit in, the library too
// loads once; see Load for what it does not give.
func (l *load) throughLibrary(linked *linkedProgram, out *outcome) *loaded {
	linked.spec.Name = OwnPrefix + linked.spec.Name // a private copy, for it refers to something
	opts := ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats, LogSizeStart: l.logSize(linked.spec.Instructions)}
	var prog *ebpf.Program
	var err error
	// Never interrupted: the library answers EAGAIN by loading again.
	undisturbed(context.Background(), func() {
		start := time.Now()
		prog, err = ebpf.NewProgramWithOptions(linked.spec, opts)
		out.seconds = time.Since(start).Seconds()
	})
	if err == nil {
		out.log = prog.VerifierLog
		return &loaded{prog: prog}
	}
	var verr *ebpf.VerifierError
	if errors.As(err, &verr) {
		out.log = strings.Join(verr.Log, "\n") + "\n"
	}
	if !errors.As(err, &out.errno) || !strings.HasPrefix(err.Error(), "load program") {
		out.errno = 0
		out.linkErr = libraryLinkError(err)
	} else if out.log == "" && out.errno == unix.EFAULT {
		out.note = err.Error()
	}
	return nil
}

// lacking are the library's words for what this kernel does not have. Anything
// else that keeps it from linking is its own limit and tells nothing of the kernel.
var lacking = []reject{
	{"fixing up kfuncs: kfunc", ReasonKfunc},
	{"unknown kfunc", ReasonKfunc}, // what it turns a poisoned call into
	{"kernel is missing symbol", ReasonUnsupported},
	{"does not exist on this kernel", ReasonUnsupported}, // a CONFIG_ option
}

func libraryLinkError(err error) error {
	for _, l := range lacking {
		if strings.Contains(err.Error(), l.text) {
			return relocateError(l.reason, "%w", err)
		}
	}
	return badRequest(PhaseRelocate, ReasonUnknown, "%w", err)
}
