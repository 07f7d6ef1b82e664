package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lastgood/internal/snapshot"
	"lastgood/internal/source"
	"lastgood/internal/sysfs"
)

const resolverKind = "net.resolver"

var _ = catalogue.Add(source.Source{
	Name: "resolvers",
	Doc: `the name servers of /etc/resolv.conf, and whether they answer

Asks each for the address of the host's own name. Any answer will do, also that there is no such name.`,
	Kinds: []snapshot.Kind{resolverDeclared},
	Tier:  source.Native,
	Read:  readResolvers,
})

var resolverDeclared = snapshot.Kind{
	Name: resolverKind,
	Doc:  "a name server of /etc/resolv.conf, known by its address; any stands for all of them together.",
	Attrs: []snapshot.Attr{
		{Name: "answers", Order: []string{"yes", "no"}, Doc: "yes where it answered one of two questions in a second"},
		{Name: "all", Doc: "yes of the subject that stands for all"},
		{Name: "rcode", Noise: snapshot.Evidence, Doc: "what it answered: NOERROR, NXDOMAIN, SERVFAIL, REFUSED …"},
		{Name: "why", Noise: snapshot.Evidence, Doc: "what went wrong"},
	},
	Rules: []snapshot.Rule{
		{Code: "resolver-silent", On: snapshot.OnBecomes, Attr: "answers", From: []string{"yes"}, To: []string{"no"}, Where: map[string]string{"all": "yes"}, Severity: snapshot.Critical, Class: snapshot.ClassService,
			Message: "no name server of /etc/resolv.conf answers, one did", Hint: "resolvectl status; cat /etc/resolv.conf; is the network up?"},
		{Code: "resolver-silent", On: snapshot.OnBecomes, Attr: "answers", From: []string{"yes"}, To: []string{"no"}, Severity: snapshot.Warning, Class: snapshot.ClassService,
			Message: "name server {name} does not answer, did"},
		{Code: "resolver-gone", On: snapshot.OnMissing, Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "name server {name} is gone from /etc/resolv.conf"},
		{Code: "resolver-new", On: snapshot.OnNew, Severity: snapshot.Info, Class: snapshot.ClassConfig, Message: "name server {name} is new in /etc/resolv.conf"},
	},
}

// maxServers is MAXNS of resolv.conf(5): the rest is not asked by libc either.
const maxServers = 3

// parseResolvConf reads the name servers of resolv.conf(5).
func parseResolvConf(text string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" || len(out) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// hostName is the host's own name as the kernel has it.
func hostName(ctx context.Context, root *sysfs.Root) (string, error) {
	return root.Attr(ctx, "/proc/sys/kernel/hostname")
}

func readResolvers(ctx context.Context, h source.Host) ([]snapshot.Subject, error) {
	text, found, err := readText(ctx, h.Root, maxFile, "/etc/resolv.conf")
	if err != nil || !found && h.Root.Live() {
		return nil, errors.Join(err, errMissing(found, "/etc/resolv.conf"))
	}
	if !h.Root.Live() {
		return nil, errNotLive
	}
	name, err := hostName(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	servers := parseResolvConf(text)
	out := make([]snapshot.Subject, len(servers))
	var wait sync.WaitGroup
	for i, a := range servers {
		wait.Go(func() { out[i] = askResolver(ctx, a, name) })
	}
	wait.Wait()
	if len(out) == 0 {
		return nil, settled(ctx, h)
	}
	any := snapshot.Subject{Kind: resolverKind, ID: "any", Outcome: snapshot.Measured}
	any.Set("all", snapshot.Text("yes"))
	any.Set("answers", yesNo(slices.ContainsFunc(out, func(s snapshot.Subject) bool { return s.Text("answers") == "yes" })))
	return append(out, any), settled(ctx, h)
}

func errMissing(found bool, name string) error {
	if found {
		return nil
	}
	return fmt.Errorf("read %s: not there", name)
}

func askResolver(ctx context.Context, server netip.Addr, name string) snapshot.Subject {
	s := snapshot.Subject{Kind: resolverKind, ID: server.String(), Outcome: snapshot.Measured}
	s.Set("all", snapshot.Text("no"))
	a, err := askTwice(ctx, netip.AddrPortFrom(server, 53).String(), name)
	s.Set("answers", yesNo(err == nil))
	if err != nil {
		s.Set("why", snapshot.Text(err.Error()))
		return s
	}
	s.Set("rcode", snapshot.Text(rcodeName(a.rcode)))
	return s
}

// askTwice asks once more where nothing came back, as libc does (attempts of resolv.conf(5)): one datagram may be lost, and a server
// that has just started asks others first.
func askTwice(ctx context.Context, server, name string) (a dnsAnswer, err error) {
	for range 2 {
		begun := time.Now()
		one, cancel := context.WithTimeout(ctx, dnsPatience)
		a, err = askDNS(one, "udp", server, name, dnsmessage.TypeA)
		cancel()
		late := time.Since(begun) > dnsPatience/2 // and not refused, or without a way there
		if err == nil || !late || ctx.Err() != nil {
			break
		}
	}
	return a, err
}

// dnsPatience bounds one question to a name server.
const dnsPatience = time.Second

// dnsAnswer is what a name server said.
type dnsAnswer struct {
	rcode     dnsmessage.RCode
	records   []string // of the type that was asked for, as text, sorted
	truncated bool
}

// askDNS puts one question to server ("address:port") over udp or tcp. ctx must have a deadline.
func askDNS(ctx context.Context, network, server, name string, typ dnsmessage.Type) (dnsAnswer, error) {
	fail := func(err error) (dnsAnswer, error) {
		if timedOut(err) {
			err = errors.New("no answer in time")
		}
		return dnsAnswer{}, fmt.Errorf("ask %s over %s for %s: %w", server, network, name, err)
	}
	full, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return fail(err)
	}
	id := uint16(time.Now().UnixNano())
	question := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: full, Type: typ, Class: dnsmessage.ClassINET}}}
	b, err := question.Pack()
	if err != nil {
		return fail(err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fail(err)
		}
	}
	answer, err := exchange(conn, network, b, id)
	if err != nil {
		return fail(err)
	}
	return readAnswer(answer, typ), nil
}

// exchange sends a question and reads the answer to it. Over TCP a length of two bytes goes before each (RFC 1035, 4.2.2).
func exchange(conn net.Conn, network string, question []byte, id uint16) (*dnsmessage.Message, error) {
	if network == "tcp" {
		question = append([]byte{byte(len(question) >> 8), byte(len(question))}, question...)
	}
	if _, err := conn.Write(question); err != nil {
		return nil, err
	}
	for {
		b, err := readDNS(conn, network)
		if err != nil {
			return nil, err
		}
		m, err := parseDNS(b)
		if err == nil && m.ID == id && m.Response {
			return m, nil
		}
		if network == "tcp" {
			return nil, errors.New("it answered something else")
		}
	}
}

// readDNS reads one message.
func readDNS(conn net.Conn, network string) ([]byte, error) {
	if network == "tcp" {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		b := make([]byte, int(size[0])<<8|int(size[1]))
		_, err := io.ReadFull(conn, b)
		return b, err
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	return b[:n], err
}

func parseDNS(b []byte) (*dnsmessage.Message, error) {
	m := new(dnsmessage.Message)
	return m, m.Unpack(b)
}

func readAnswer(m *dnsmessage.Message, typ dnsmessage.Type) dnsAnswer {
	a := dnsAnswer{rcode: m.RCode, truncated: m.Truncated}
	for _, r := range m.Answers {
		if r.Header.Type != typ {
			continue
		}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			a.records = append(a.records, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			a.records = append(a.records, netip.AddrFrom16(body.AAAA).String())
		case *dnsmessage.CNAMEResource:
			a.records = append(a.records, strings.TrimSuffix(body.CNAME.String(), "."))
		case *dnsmessage.NSResource:
			a.records = append(a.records, strings.TrimSuffix(body.NS.String(), "."))
		case *dnsmessage.PTRResource:
			a.records = append(a.records, strings.TrimSuffix(body.PTR.String(), "."))
		case *dnsmessage.MXResource:
			a.records = append(a.records, fmt.Sprintf("%d %s", body.Pref, strings.TrimSuffix(body.MX.String(), ".")))
		case *dnsmessage.TXTResource:
			a.records = append(a.records, strings.Join(body.TXT, ""))
		}
	}
	slices.Sort(a.records)
	return a
}

// rcodeName is a response code as dig writes it (RFC 1035, 4.1.1).
func rcodeName(r dnsmessage.RCode) string {
	switch r {
	case dnsmessage.RCodeSuccess:
		return "NOERROR"
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeNameError:
		return "NXDOMAIN"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	}
	return fmt.Sprintf("RCODE%d", r)
}
