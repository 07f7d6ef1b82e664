package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"lastgood/internal/snapshot"
)

// The seal is the last field of a JSON document that is indented by one blank,
// as snapshot.Encode does it. It stands at a fixed distance from the end, so
// nothing has to be parsed to check it.
const (
	sealHead   = ",\n \"checksum\": \"sha256:"
	sealTail   = "\"\n}\n"
	sealDigits = sha256.Size * 2
	sealLen    = len(sealHead) + sealDigits + len(sealTail)
)

// maxSnapshot bounds what is read as a snapshot: fifty times the size of one
// with 5,000 subjects.
const maxSnapshot = 128 << 20

var (
	errUnsealed = errors.New("it bears no checksum")
	errMismatch = errors.New("its checksum does not match: it was damaged or edited")
	errMoved    = errors.New("its checksum is not where lastgood writes it: it was edited or reformatted")
)

// seal adds the checksum to an indented JSON object with at least one field,
// and returns the document and its checksum in hexadecimal.
func seal(doc []byte) ([]byte, string, error) {
	body, ok := bytes.CutSuffix(bytes.TrimRight(doc, "\n"), []byte("\n}"))
	if !ok || len(body) < 2 {
		return nil, "", fmt.Errorf("add checksum: not an indented JSON object")
	}
	sum := checksum(body)
	out := make([]byte, 0, len(body)+sealLen)
	out = append(out, body...)
	out = append(out, sealHead...)
	out = append(out, sum...)
	out = append(out, sealTail...)
	return out, sum, nil
}

// unseal checks a document's checksum and returns it; the error is errUnsealed
// or errMismatch.
func unseal(b []byte) (string, error) {
	body, ok := bytes.CutSuffix(b, []byte(sealTail))
	if !ok || len(b) <= sealLen {
		return "", errUnsealed
	}
	sum := body[len(body)-sealDigits:]
	body, ok = bytes.CutSuffix(body[:len(body)-sealDigits], []byte(sealHead))
	if !ok {
		return "", errUnsealed
	}
	if got := checksum(body); got != string(sum) {
		return "", errMismatch
	}
	return string(sum), nil
}

// checksum is that of the document whose bytes before the seal are body.
func checksum(body []byte) string {
	h := sha256.New()
	h.Write(body)
	h.Write([]byte(sealHead))
	h.Write(bytes.Repeat([]byte{'0'}, sealDigits))
	h.Write([]byte(sealTail))
	return hex.EncodeToString(h.Sum(nil))
}

// encodeSealed is v as indented JSON with its checksum.
func encodeSealed(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, err
	}
	b, _, err = seal(b)
	return b, err
}

// ReadFile reads a snapshot from any file, a link or a pipe among them. Its checksum is verified where it
// bears one; a snapshot without is taken as it is. It returns a *DamagedError,
// a *snapshot.SchemaError, an error that wraps snapshot.ErrNotSnapshot, or a
// *FileError.
func ReadFile(path string) (*snapshot.Snapshot, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileErr("read", path, err)
	}
	defer f.Close()
	b, err := readAll(f, maxSnapshot)
	if err != nil {
		return nil, fileErr("read", path, err)
	}
	_, err = unseal(b)
	if errors.Is(err, errUnsealed) {
		err = checkUnsealed(b)
	}
	if err != nil {
		return nil, &DamagedError{Path: path, Why: err}
	}
	s, err := snapshot.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// checkUnsealed tells a document that never had a checksum from one whose
// checksum can no longer be verified.
func checkUnsealed(b []byte) error {
	var head struct {
		Checksum json.RawMessage `json:"checksum"`
	}
	if err := json.Unmarshal(b, &head); err == nil && head.Checksum != nil {
		return errMoved
	}
	return nil // what is no JSON object is told by Decode
}

// DamagedError is returned for a file that does not hold what was written.
type DamagedError struct {
	Path string
	Why  error
	// MovedTo is where the file was moved, "" where it was left in its place.
	MovedTo string
}

func (e *DamagedError) Error() string {
	s := fmt.Sprintf("read %s: %v", e.Path, e.Why)
	if e.MovedTo != "" {
		s += "; moved to " + e.MovedTo
	}
	return s
}

func (e *DamagedError) Unwrap() error { return e.Why }

// Hint says what a person can do about it.
func (e *DamagedError) Hint() string {
	if e.MovedTo == "" && (errors.Is(e.Why, errMismatch) || errors.Is(e.Why, errMoved)) {
		return "to use a copy that was edited on purpose, remove its checksum: jq 'del(.checksum)' FILE"
	}
	return "look for errors of the disk with `dmesg`"
}
