package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDelivered: what was sent last to whom is known afterwards, and a document that is damaged keeps nobody from being told.
func TestDelivered(t *testing.T) {
	srv := newServer(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := spoolAt(t, Config{Webhooks: []Webhook{{URL: srv.URL + "/a"}}}, &now)
	if last, err := s.Delivered(); err != nil || last != nil {
		t.Fatal(last, err)
	}
	send := func(event, boot string) {
		t.Helper()
		if err := s.Add(message(t, event, boot, now)); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Flush(t.Context(), true); err != nil || r.Left != 0 {
			t.Fatal(r, err)
		}
	}
	send(EventTest, "boot1")
	now = now.Add(time.Hour)
	send(EventGood, "boot2")
	want := []Delivery{{"webhook " + publicURL(srv.URL+"/a"), EventGood, "boot2", now}}
	if last, err := s.Delivered(); err != nil || cmp.Diff(want, last) != "" {
		t.Errorf("%v, %s", err, cmp.Diff(want, last))
	}
	if err := os.WriteFile(filepath.Join(s.Folder.Dir(), deliveredFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delivered(); err == nil || !strings.Contains(err.Error(), "read what was sent") {
		t.Errorf("a damaged document: %v", err)
	}
	send(EventTest, "boot2")
	if last, err := s.Delivered(); err != nil || len(last) != 1 || len(srv.received()) != 3 {
		t.Errorf("%v, %v, %d received", last, err, len(srv.received()))
	}
	waiting, err := s.Waiting()
	if err != nil || len(waiting) != 0 {
		t.Errorf("waiting %v, %v", waiting, err)
	}
}
