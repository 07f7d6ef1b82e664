package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"lastgood/internal/snapshot"
)

// Schema is the name and version of the report's JSON form. Fields are only ever
// added within a version; a new meaning gets a new version.
const (
	Schema        = schemaName + "/v1"
	schemaName    = "lastgood.report"
	schemaVersion = 1
)

// ErrNotReport is returned for JSON that is no lastgood report.
var ErrNotReport = errors.New("not a lastgood report")

// SchemaError is returned for a report of a version that cannot be read.
type SchemaError struct{ Have string }

func (e *SchemaError) Error() string {
	return fmt.Sprintf("report has schema %q, this lastgood reads %q", e.Have, Schema)
}

// Hint says what a person can do about it.
func (e *SchemaError) Hint() string {
	return "it was written by another version of lastgood: use that version, or run `lastgood check` again"
}

// JSON writes the promised document lastgood.report/v1.
func JSON(w io.Writer, r *Report, _ Options) error {
	out := *r
	out.Schema = Schema
	// Machines index these: an empty list is a list.
	out.Attribution = append([]snapshot.Class{}, r.Attribution...)
	out.Findings = append([]snapshot.Finding{}, r.Findings...)
	out.Incomplete = append([]snapshot.Gap{}, r.Incomplete...)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(&out); err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// Decode reads what JSON wrote. Unknown fields are passed over. It returns
// ErrNotReport or a *SchemaError where the document is something else or of
// another version, whatever the rest of it looks like.
func Decode(b []byte) (*Report, error) {
	var head struct {
		Schema *string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	if head.Schema == nil {
		return nil, fmt.Errorf("decode report: no schema: %w", ErrNotReport)
	}
	name, version, ok := strings.Cut(*head.Schema, "/v")
	n, err := strconv.Atoi(version)
	if !ok || err != nil || name != schemaName {
		return nil, fmt.Errorf("decode report: schema %q: %w", *head.Schema, ErrNotReport)
	}
	if n != schemaVersion {
		return nil, &SchemaError{Have: *head.Schema}
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	r.Schema = Schema
	return r, nil
}
