package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"lastgood/internal/snapshot"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the report as a test suite: the verdict is one case, every
// finding another. What does not fail the verdict does not fail its case.
func JUnit(w io.Writer, r *Report, _ Options) error {
	s := junitSuite{Name: "lastgood", Time: fmt.Sprintf("%.3f", r.TookSeconds), Cases: []junitCase{junitVerdict(r)}}
	for _, f := range worstFirst(r.Findings) {
		s.Cases = append(s.Cases, junitFinding(f))
	}
	for _, g := range r.Incomplete {
		s.Cases = append(s.Cases, junitCase{Class: flat(g.Kind), Name: flat(g.ID), Skipped: &junitMessage{Message: flat(g.Reason)}})
	}
	for _, c := range s.Cases {
		s.Tests++
		if c.Failure != nil {
			s.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
	}
	b, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}

// junitVerdict passes for a verdict that is known to be well, and for no other.
func junitVerdict(r *Report) junitCase {
	c := junitCase{Class: "lastgood", Name: "verdict"}
	switch r.Verdict {
	case snapshot.Good, snapshot.Learned:
		c.Out = sentence(r)
	case snapshot.Incomplete:
		c.Skipped = &junitMessage{Message: sentence(r)}
	default:
		c.Failure = &junitMessage{Message: strings.ToLower(verdictWord(r)), Text: sentence(r)}
	}
	return c
}

func junitFinding(f *snapshot.Finding) junitCase {
	c := junitCase{Class: flat(f.Subject.Kind), Name: flat(f.Subject.ID + " " + f.Code)}
	details := []string{oldToNew(f), clean(f.Hint), clean(f.Evidence)}
	if f.Severity == snapshot.Critical {
		c.Failure = &junitMessage{Message: said(f), Text: joined("\n", details...)}
		return c
	}
	c.Out = joined("\n", append([]string{flat(string(f.Severity)) + ": " + said(f)}, details...)...)
	return c
}

// joined joins the parts that are not empty.
func joined(sep string, parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}
