package contract

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServerOn answers A questions for name over UDP and TCP on one port until the test ends.
func dnsServerOn(t *testing.T, name, address string, tcp bool) string {
	t.Helper()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo(dnsReply(b[:n], name, address), from)
		}
	}()
	if !tcp {
		return u.LocalAddr().String()
	}
	l, err := net.Listen("tcp", u.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			io.ReadFull(c, size[:])
			b := make([]byte, binary.BigEndian.Uint16(size[:]))
			io.ReadFull(c, b)
			reply := dnsReply(b, name, address)
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			c.Close()
		}
	}()
	return u.LocalAddr().String()
}

func dnsReply(question []byte, name, address string) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response = true
	if q := m.Questions[0]; q.Name.String() == name+"." && q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body: &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())}}}
	} else {
		m.RCode = dnsmessage.RCodeNameError
	}
	b, _ := m.Pack() // it was unpacked
	return b
}

// script writes an executable shell script of that name into a folder of its own, which is the only one in PATH besides the system's.
func script(t *testing.T, name, body string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return file
}
