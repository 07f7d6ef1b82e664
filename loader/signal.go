package loader

import (
	"context"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// abortSignal is the only asynchronous signal left open on a thread that loads a
// program. The Go runtime ignores it unless somebody asked for it, and nothing
// else aims it at a single thread.
const abortSignal = unix.SIGIO

// abortEvery is how often an overdue load is signalled. One signal may fall
// between the mask and the call, where it interrupts nothing.
const abortEvery = 2 * time.Millisecond

// faultSignals must stay open: the kernel kills a process that faults with the
// signal blocked, and the stack trace would be lost.
var faultSignals = []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGSYS}

// undisturbed runs load on a thread that no stray signal reaches. The verifier
// gives up with EAGAIN as soon as one is pending (c34955d1f4c1, v5.0), and the
// Go scheduler and profiler send them at any time, so an unmasked load fails at
// random. When ctx ends first, the load is interrupted on purpose; the verifier
// then returns EAGAIN.
func undisturbed(ctx context.Context, load func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var old unix.Sigset_t
	mask := blockedSignals(ctx.Done() != nil)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, &old); err != nil {
		// Only a bad argument makes this call fail; loading unmasked is still right.
		load()
		return
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)

	if ctx.Done() == nil {
		load()
		return
	}
	done, gone := make(chan struct{}), make(chan struct{})
	tid := unix.Gettid()
	stop := context.AfterFunc(ctx, func() {
		defer close(gone)
		interrupt(done, tid)
	})
	load()
	if !stop() {
		// The thread must not be signalled once it is given back.
		close(done)
		<-gone
	}
}

// interrupt signals thread tid until done is closed.
func interrupt(done <-chan struct{}, tid int) {
	tick := time.NewTicker(abortEvery)
	defer tick.Stop()
	for {
		// ESRCH cannot happen while the caller holds the thread; nothing to do for the rest.
		_ = unix.Tgkill(unix.Getpid(), tid, abortSignal)
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// blockedSignals is every signal but the faults and, if wanted, the one that aborts.
func blockedSignals(abortable bool) (set unix.Sigset_t) {
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
	for _, s := range faultSignals {
		unblock(&set, s)
	}
	if abortable {
		unblock(&set, abortSignal)
	}
	return set
}

func unblock(set *unix.Sigset_t, s unix.Signal) {
	// Val's element is 32 or 64 bits wide, depending on the architecture.
	word := 8 * int(unsafe.Sizeof(set.Val[0]))
	n := int(s) - 1
	set.Val[n/word] &^= 1 << (n % word)
}
