package serve

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"lastgood/internal/report"
)

// pageText has no script, no style and nothing from elsewhere. Names come from devices
// and logs: html/template escapes each for where it stands.
const pageText = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>lastgood{{with .Report}}: {{.Verdict}}{{end}}</title></head>
<body>
<main>
{{with .Report}}<h1>{{.Verdict}}</h1>
<p>{{.Summary}}</p>
<p>{{with .Current}}This boot runs {{.Kernel.Release}}.{{end}}{{with .Baseline}} The last good one ran {{.Kernel.Release}}.{{end}} Checked {{time .Taken}}.</p>
{{else}}<h1>no result yet</h1>
<p>Run <code>lastgood check</code>.</p>
{{end}}{{with .Faults}}<h2>Not all could be read</h2>
{{if $.Stale}}<p>What is shown is an earlier result: the newest one could not be read.</p>
{{end}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>
{{end}}{{with .Report}}{{if .Findings}}<h2>Findings</h2>
<ol>{{range .Findings}}
<li><strong>{{.Severity}}</strong> {{.Message}}{{with .Hint}}<br>{{.}}{{end}}</li>{{end}}
</ol>
{{end}}{{end}}<h2>More</h2>
<ul>
<li><a href="/metrics">metrics</a></li>
<li><a href="/api/v1/report">the report</a>, <a href="/api/v1/snapshots">snapshots</a>, <a href="/api/v1/snapshots/last-good">the last good one</a>, as JSON</li>
<li><a href="/-/healthy">healthy</a>, <a href="/-/ready">ready</a></li>
</ul>
</main>
</body>
</html>
`

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
}).Parse(pageText))

// mostOnPage bounds the findings that the page lists.
const mostOnPage = 200

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	st := s.state.Load()
	data := struct {
		Report *report.Report
		Faults []string
		Stale  bool
	}{nil, st.faults, st.broken}
	if st.summary != nil {
		r := *st.summary
		r.Findings = r.Findings[:min(len(r.Findings), mostOnPage)]
		data.Report = &r
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		fail(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(b.Len()))
	_, _ = w.Write(b.Bytes()) // whoever asked may be gone
}
