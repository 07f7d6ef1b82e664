package collect

import (
	"errors"
	"strings"

	"lastgood/internal/kmsg"
)

// kernelLog follows the kernel's log from where it was opened on.
type kernelLog struct{ *kmsg.Log }

func openKernelLog(name string) (*kernelLog, error) {
	l, err := kmsg.Open(name, true)
	if err != nil {
		return nil, err
	}
	return &kernelLog{l}, nil
}

// maxRecords bounds what is read between two steps: a kernel that floods its log
// must not keep the check from ending.
const maxRecords = 10_000

// read returns the messages that came since the last read.
func (l *kernelLog) read() ([]string, error) {
	records, _, err := l.Read(kmsg.Limits{Records: maxRecords})
	if errors.Is(err, kmsg.ErrFlooded) { // the next read goes on from there
		err = nil
	}
	var out []string
	for _, r := range records {
		out = append(out, r.Text)
	}
	return out, err
}

// alarms are the texts by which the kernel says that it caught itself in a fault.
var alarms = []string{"WARNING: ", "BUG: ", "kernel BUG at", "Oops: ", "verifier bug", "REG INVARIANTS VIOLATION", "general protection fault", "page allocation failure", "soft lockup", "rcu_preempt detected stalls", "rcu_sched detected stalls"}

// alarming picks the messages that are such.
func alarming(messages []string) []string {
	var out []string
	for _, m := range messages {
		for _, a := range alarms {
			if strings.Contains(m, a) {
				out = append(out, m)
				break
			}
		}
	}
	return out
}
