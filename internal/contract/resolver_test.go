package contract

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
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

// TestALongAnswerIsNoFailure: what may stand behind what is read of a page could not be told.
func TestALongAnswerIsNoFailure(t *testing.T) {
	for size, want := range map[int]State{10: Fail, maxOutput - 5: Fail, maxOutput + 10: Unknown} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write(bytes.Repeat([]byte("x"), size))
		}))
		defer web.Close()
		r := runnerOn(map[string]string{"/proc/uptime": "600 1"})
		if res := r.Once(t.Context(), checks(t, "id: a, http: {url: '"+web.URL+"', body: ready}"))[0]; res.State != want {
			t.Errorf("%d bytes: %s %s", size, res.State, res.Why)
		}
	}
}
