package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lastgood/internal/browser"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// place is where a finding stands on a page.
type place struct{ ID, Severity, Text string }

// findingsExplained holds the page to its report: every finding that weighs has a place of
// its own, and what it rests on opens.
func findingsExplained(ctx context.Context, t *testing.T, p *browser.Page, base string, findingPages []string) {
	var places []place
	reasonsGiven := 0
	for _, address := range append([]string{base}, findingPages...) {
		lookAt(ctx, t, p, looks["phone light"], address)
		var here []place
		if err := p.Eval(ctx, `[...document.querySelectorAll("li.critical[id], li.warning[id]")].map(e => ({id: e.id, severity: e.className, text: e.innerText}))`, &here); err != nil {
			t.Fatal(err)
		}
		if address == base && len(here) == 0 {
			t.Error("the first page shows no finding")
		} else if address != base {
			places = append(places, here...)
		}
		reasonsGiven += reasons(ctx, t, p)
		wantQuiet(ctx, t, p, address)
		wantFits(t, address+" with all reasons open", sight(ctx, t, p))
	}
	weighty := 0
	for _, f := range reported(t, base).Findings {
		if f.Severity == snapshot.Info {
			continue
		}
		weighty++
		if !slices.ContainsFunc(places, func(p place) bool {
			return strings.HasPrefix(p.ID, f.Code+"-") && p.Severity == string(f.Severity) && strings.Contains(p.Text, f.Subject.ID)
		}) {
			t.Errorf("%s of %s/%s has no place on the page", f.Code, f.Subject.Kind, f.Subject.ID)
		}
	}
	if len(places) != weighty {
		t.Errorf("%d findings on the pages, %d in the report weigh", len(places), weighty)
	}
	if reasonsGiven < weighty {
		t.Errorf("%d findings weigh, and there are only %d reasons", weighty, reasonsGiven)
	}
}

func reported(t *testing.T, base string) *report.Report {
	t.Helper()
	w, err := http.Get(base + "api/v1/report")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	var rep report.Report
	if err := json.NewDecoder(w.Body).Decode(&rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

// diffChosen compares two boots by the form on the page, as somebody would who wants to know.
func diffChosen(ctx context.Context, t *testing.T, p *browser.Page, base string) {
	lookAt(ctx, t, p, looks["phone dark"], base+"diff")
	from, to := pageBoots[0], pageBoots[len(pageBoots)-1]
	to.id = runningBoot(t)
	var fit bool
	if err := p.Eval(ctx, fmt.Sprintf(`(() => { const f = document.forms[0], choose = (s, id) => { s.value = [...s.options].find(o => o.value.startsWith(id))?.value; return s.selectedIndex >= 0; };
		return choose(f.elements.from, %q) && choose(f.elements.to, %q) && f.method === "get"; })()`, from.id, to.id), &fit); err != nil || !fit {
		t.Fatalf("the form does not offer %s and %s: %v", from.id, to.id, err)
	}
	if err := p.Follow(ctx, func() error { return p.Click(ctx, "form button") }); err != nil {
		t.Fatal(err)
	}
	var at struct{ Path, Query, Text string }
	if err := p.Eval(ctx, `({path: location.pathname, query: location.search, text: document.querySelector("main").innerText})`, &at); err != nil {
		t.Fatal(err)
	}
	if at.Path != "/diff" || !strings.Contains(at.Query, "from="+from.id) || !strings.Contains(at.Query, "to="+to.id) {
		t.Errorf("the form led to %s%s", at.Path, at.Query)
	}
	for _, want := range []string{from.kernel, to.kernel, "regressed"} {
		if !strings.Contains(at.Text, want) {
			t.Errorf("the comparison does not tell of %s", want)
		}
	}
	wantQuiet(ctx, t, p, base)
	wantFits(t, "the comparison", sight(ctx, t, p))
}
