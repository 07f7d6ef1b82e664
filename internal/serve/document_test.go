package serve

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"lastgood/internal/snapshot"
)

// What does not change is sent once: a client that names what it has is told so, and another one gets
// it packed, if it takes that.
func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, testSnapshot("boot-2", 20, 5), snapshot.Good, true)
	s := testServer(t, dir)
	for _, path := range []string{"/api/v1/report", "/api/v1/snapshots"} {
		plain := get(s, path)
		wantCode(t, plain, 200, `"schema"`)
		tag := plain.Header().Get("ETag")
		if tag == "" || plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("Vary") != "Accept-Encoding" || !json.Valid(plain.Body.Bytes()) {
			t.Errorf("%s: %v", path, plain.Header())
		}
		packed := get(s, path, "Accept-Encoding", "gzip")
		z, err := gzip.NewReader(packed.Body)
		if err != nil || packed.Header().Get("Content-Encoding") != "gzip" || packed.Header().Get("ETag") != tag {
			t.Fatalf("%s: %v, %v", path, err, packed.Header())
		}
		if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain.Body.Bytes()) {
			t.Errorf("%s packed is another one: %v", path, err)
		}
		for header, code := range map[string]int{tag: 304, tag[2:]: 304, `"other", ` + tag: 304, "*": 304, `"other"`: 200, "": 200, tag[:9]: 200, ",,": 200} {
			w := get(s, path, "If-None-Match", header)
			if w.Code != code || (w.Body.Len() == 0) != (code == 304) || w.Header().Get("ETag") != tag {
				t.Errorf("%s, If-None-Match %q: status %d, %d bytes, want %d", path, header, w.Code, w.Body.Len(), code)
			}
		}
		head := httptest.NewRecorder()
		s.Handler().ServeHTTP(head, httptest.NewRequest(http.MethodHead, path, nil))
		if head.Code != 200 || head.Body.Len() > 0 || head.Header().Get("Content-Length") != plain.Header().Get("Content-Length") {
			t.Errorf("%s, HEAD: %d, %d bytes, %v", path, head.Code, head.Body.Len(), head.Header())
		}
		save(t, dir, testSnapshot("boot-2", 21, 5), snapshot.Regressed, false)
		s.Refresh()
		if w := get(s, path, "If-None-Match", tag); w.Code != 200 || w.Header().Get("ETag") == tag {
			t.Errorf("%s: a new result is not told: status %d", path, w.Code)
		}
		save(t, dir, testSnapshot("boot-2", 20, 5), snapshot.Good, true)
		s.Refresh()
	}
}

// Whoever asks for a part of the API that there is none of gets JSON, whatever else it would take.
func TestNoSuchPartOfTheAPI(t *testing.T) {
	s := testServer(t, t.TempDir())
	for _, path := range []string{"/api", "/api/", "/api/v1", "/api/v1/nosuch", "/api/v2/report", "/api/v1/report/x", "/api/v1/snapshots/"} {
		w := get(s, path, "Accept", "text/html,*/*")
		wantCode(t, w, 404, ErrorSchema, "/api/v1/snapshots")
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: no JSON: %s", path, w.Body)
		}
	}
}
