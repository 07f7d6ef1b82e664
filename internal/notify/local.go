package notify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Journal is where the host's log takes messages.
type Journal struct {
	// Socket is journald's, Syslog what takes its place where there is no journald.
	Socket, Syslog string
}

// HostJournal is this host's.
func HostJournal() Journal {
	return Journal{Socket: "/run/systemd/journal/socket", Syslog: "/dev/log"}
}

// logPatience bounds a write to a log that does not read.
const logPatience = 2 * time.Second

// Send writes a message in journald's own protocol, and where that is not there a line to
// syslog.
func (j Journal) Send(m *Message) error {
	err := sendTo(j.Socket, m.journalFields())
	if err == nil {
		return nil
	}
	pri := 3<<3 | priority(m.Severity) // facility daemon
	line := fmt.Sprintf("<%d>lastgood: %s: %s", pri, m.Title, m.Text)
	if serr := sendTo(j.Syslog, []byte(line)); serr != nil {
		return fmt.Errorf("write to the log: %w", errors.Join(err, serr))
	}
	return nil
}

func sendTo(socket string, b []byte) error {
	c, err := net.DialTimeout("unixgram", socket, logPatience)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(logPatience)); err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

// priority is syslog's.
func priority(s Severity) int {
	return map[Severity]int{Critical: 2, Warning: 4, Info: 6}[s]
}

// journalFields is a message as systemd's "Native Journal Protocol" wants it: NAME=VALUE lines, and for a value of
// several lines its name, its length in 64 bits, little-endian, and the value.
func (m *Message) journalFields() []byte {
	e, _ := EventNamed(m.Event)
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"MESSAGE", m.Title + ": " + m.Text}, {"MESSAGE_ID", e.ID}, {"PRIORITY", fmt.Sprint(priority(m.Severity))},
		{"SYSLOG_IDENTIFIER", "lastgood"}, {"LASTGOOD_EVENT", m.Event}, {"LASTGOOD_VERDICT", m.Verdict}, {"LASTGOOD_KERNEL", m.Kernel},
		{"LASTGOOD_BASELINE_KERNEL", m.BaselineKernel}, {"LASTGOOD_BOOT_ID", m.BootID}, {"LASTGOOD_EVIDENCE", strings.Join(m.Findings, "\n")},
	} {
		name, value := f[0], f[1]
		switch {
		case value == "":
		case strings.Contains(value, "\n"):
			b.WriteString(name + "\n")
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
			b.WriteString(value + "\n")
		default:
			b.WriteString(name + "=" + value + "\n")
		}
	}
	return b.Bytes()
}

// MOTDPath is the line that pam_motd shows to whoever logs in.
const MOTDPath = "/run/motd.d/lastgood"

// MOTD is that file.
type MOTD string

// Update makes the file say what the message says, or takes it away where all is well.
func (p MOTD) Update(m *Message) error {
	switch m.Event {
	case EventTest:
		return nil
	case EventGood, EventConfirmed, EventCommitted:
		if err := os.Remove(string(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("update message of the day: %w", err)
		}
		return nil
	}
	dir := filepath.Dir(string(p))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("update message of the day: %w", err)
	}
	tmp := filepath.Join(dir, fmt.Sprintf(".lastgood.%d", os.Getpid()))
	err := os.WriteFile(tmp, []byte(fmt.Sprintf("lastgood: %s. %s\n", m.Title, m.Text)), 0o644)
	if err == nil {
		err = os.Rename(tmp, string(p))
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("update message of the day: %w", err)
	}
	return nil
}
