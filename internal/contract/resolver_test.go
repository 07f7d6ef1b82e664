package contract

import (
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// TestALostQuestionIsAskedAgain: a name server that did not hear the first question is no silent one.
func TestALostQuestionIsAskedAgain(t *testing.T) {
	for _, lost := range []int{0, 1, 2} {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			b := make([]byte, 512)
			for n := 0; ; n++ {
				size, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				var m dnsmessage.Message
				if n < lost || m.Unpack(b[:size]) != nil {
					continue
				}
				m.Response, m.RCode = true, dnsmessage.RCodeNameError
				if out, err := m.Pack(); err == nil {
					c.WriteTo(out, from)
				}
			}
		}()
		a, err := askTwice(t.Context(), c.LocalAddr().String(), "host")
		if (err == nil) != (lost < 2) || err == nil && a.rcode != dnsmessage.RCodeNameError {
			t.Errorf("%d lost: %v, %v", lost, a, err)
		}
	}
}
