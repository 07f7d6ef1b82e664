package serve

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard lets through only what this server is for.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			h.Set("Connection", "close") // its body is not read
			fail(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered", "")
		case r.ContentLength != 0:
			h.Set("Connection", "close")
			fail(w, http.StatusRequestEntityTooLarge, "a request here has no body", "")
		case len(r.URL.RawQuery) > maxQuery:
			fail(w, http.StatusRequestURITooLong, "the query is too long", "")
		case !s.hostFits(r):
			fail(w, http.StatusMisdirectedRequest, "this server does not go by that name", "--web.host NAME lets a name be asked for")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// maxQuery bounds a query, in bytes; maxHost is what the DNS allows for a name (RFC 1035, 2.3.4),
// with a port.
const (
	maxQuery = 1 << 10
	maxHost  = 253 + len(":65535")
)

// hostFits checks the Host header. A server on the loopback trusts whoever is on this
// machine, and a browser there is led to it by any site whose name resolves to 127.0.0.1
// (DNS rebinding); so it answers by address and by this machine's names only.
func (s *Server) hostFits(r *http.Request) bool {
	host := r.Host
	if len(host) > maxHost {
		return false
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if strings.ContainsFunc(host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:%", c)
	}) {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" || !onLoopback(r) {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.ContainsFunc(s.o.Hosts, func(n string) bool { return strings.EqualFold(n, host) })
}

func onLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
