package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// document is an answer in JSON that stays the same until the folder changes, packed, with the
// name by which a client says that it has it (RFC 9110, 8.8.3). Whoever watches many hosts asks
// again and again for what seldom changes.
type document struct {
	exposition
	tag string // weak: packed or not, it is the same document
}

func documentOf(plain []byte) (document, error) {
	packed, err := pack(plain)
	sum := sha256.Sum256(plain)
	return document{exposition{packed, len(plain)}, `W/"` + hex.EncodeToString(sum[:12]) + `"`}, err
}

// send answers with the document, or that the client has it.
func (d document) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", d.tag)
	h.Set("Cache-Control", "private, no-cache") // it may be kept, and is asked for again
	h.Add("Vary", "Accept-Encoding")
	if matches(r.Header.Get("If-None-Match"), d.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	packed, size := acceptsGzip(r.Header.Get("Accept-Encoding")), d.size
	if packed {
		size = len(d.packed)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", fmt.Sprint(size))
	switch {
	case r.Method == http.MethodHead:
	case packed:
		_, _ = w.Write(d.packed) // whoever asked may be gone
	default:
		_ = d.unpack(w)
	}
}

// matches reads an If-None-Match: a list of tags, or a star; weak and strong ones compare alike
// (RFC 9110, 13.1.2).
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || one != "" && strings.TrimPrefix(one, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
