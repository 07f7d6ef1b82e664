package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the report in GitHub's manner, for a job summary or a ticket.
func Markdown(w io.Writer, r *Report, _ Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s\n", cell(verdictWord(r)), cell(sentence(r)))
	if r.Current != nil {
		fmt.Fprintf(&b, "\n- %s: %s\n", currentName(r), cell(kernelLine(r.Current)))
	}
	if r.Baseline != nil {
		fmt.Fprintf(&b, "- %s: %s\n- changed: %s\n", baselineName(r), cell(baselineLine(r)), cell(changed(r)))
	}
	markdownFindings(&b, r)
	markdownSince(&b, r)
	if len(r.Incomplete) > 0 {
		b.WriteString("\n| could not be measured | why |\n|---|---|\n")
	}
	for _, g := range r.Incomplete {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(g.Kind+"/"+g.ID), cell(cut(g.Reason, longText)))
	}
	markdownList(&b, "Notes", r.Notes)
	markdownList(&b, "What to do next", r.Next)
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownFindings(b *strings.Builder, r *Report) {
	if len(r.Findings) > 0 {
		b.WriteString("\n| severity | finding | was → is | class | code |\n|---|---|---|---|---|\n")
	}
	for _, f := range worstFirst(r.Findings) {
		text := cell(said(f))
		if f.Hint != "" {
			text += "<br>hint: " + cell(cut(f.Hint, longText))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(string(f.Severity)), text, cell(oldToNew(f)), cell(string(f.Class)), cell(f.Code))
	}
}

func markdownList(b *strings.Builder, title string, items []string) {
	if len(items) > 0 {
		fmt.Fprintf(b, "\n**%s**\n\n", title)
	}
	for _, s := range items {
		fmt.Fprintf(b, "- %s\n", prose(orDash(s)))
	}
}

// cell makes a text from the outside fit for one cell of a table: it opens no tag,
// link, image or code, and ends no cell. An underscore within a word means nothing
// in GitHub's Markdown, so names stay readable.
func cell(s string) string {
	return markdownEscapes.Replace(flat(s))
}

// prose is cell for lastgood's own sentences, whose commands stand in backticks.
func prose(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(cell(s), "\\`", "`"), "\\|", "|")
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "&", "&amp;", "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`, "~", `\~`)
