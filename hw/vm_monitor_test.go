package hw_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// monitor is QEMU's own control port, for what a guest cannot do to itself: have a
// plug pulled, a sensor warmed up, a link disturbed (QEMU Machine Protocol).
type monitor struct {
	t      *testing.T
	socket string
	conn   net.Conn
	lines  *bufio.Scanner
}

// openFolder makes a folder for what QEMU, which runs as nobody, reads or makes.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lastgood-qemu-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newMonitor(t *testing.T) *monitor {
	t.Helper()
	m := &monitor{t: t, socket: filepath.Join(openFolder(t), "monitor")}
	t.Cleanup(func() {
		if m.conn != nil {
			m.conn.Close()
		}
	})
	return m
}

func (m *monitor) options() []string {
	return []string{"-chardev", "socket,id=monitor,server=on,wait=off,path=" + m.socket, "-mon", "chardev=monitor,mode=control"}
}

// pass passes on a command that the guest asks for. By then QEMU listens.
func (m *monitor) pass(command string) {
	m.t.Helper()
	if err := m.do(command); err != nil {
		m.t.Errorf("monitor: %s: %v", command, err)
	}
}

func (m *monitor) do(command string) error {
	if m.conn == nil {
		conn, err := net.Dial("unix", m.socket)
		if err != nil {
			return err
		}
		m.conn, m.lines = conn, bufio.NewScanner(conn)
		if err := m.say(`{"execute": "qmp_capabilities"}`); err != nil {
			return err
		}
	}
	return m.say(command)
}

// say sends a command and reads its answer, past greetings and events.
func (m *monitor) say(command string) error {
	if err := m.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(m.conn, command); err != nil {
		return err
	}
	for m.lines.Scan() {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		switch err := json.Unmarshal(m.lines.Bytes(), &answer); {
		case err != nil:
			return err
		case answer.Error != nil:
			return fmt.Errorf("QEMU says: %s", answer.Error.Desc)
		case answer.Return != nil:
			if text := string(answer.Return); text != "{}" && text != `""` { // the human monitor answers with what went wrong
				m.t.Logf("monitor: %s: %s", command, text)
			}
			return nil
		}
	}
	if err := m.lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("QEMU hung up")
}
