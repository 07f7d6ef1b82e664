package collect

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"lastgood/internal/snapshot"
)

// The parent sends one request, then a line for each group that the child asks for: it
// may begin, or is to leave it out, for another child has it. The child answers with frames, one JSON document a line.

// request is what the child is to do.
type request struct {
	Steps []string `json:"steps"` // ids, in order
	// Input is what the steps are made from besides this host: objects to measure.
	Input json.RawMessage `json:"input,omitempty"`
	// Hurry: do not stand back for others.
	Hurry bool `json:"hurry,omitempty"`
	// MemoryBytes bounds the child's writable memory.
	MemoryBytes uint64 `json:"memory_bytes"`
}

// The parent's answers to frameGroup.
const (
	answerGo   = "go\n"
	answerSkip = "skip\n"
)

type frameType string

const (
	frameRefused frameType = "refused" // the kernel lets this process load nothing; Text says why
	frameGroup   frameType = "group"   // a group is about to begin: wait for the parent's word
	frameStep    frameType = "step"    // a step begins
	frameSubject frameType = "subject" // a step gave a subject
	frameDone    frameType = "done"    // all steps were tried
)

type frame struct {
	Type    frameType         `json:"t"`
	Text    string            `json:"text,omitempty"`
	Subject *snapshot.Subject `json:"subject,omitempty"`
}

// maxFrame bounds a line from the child: evidence is bounded where it is made.
const maxFrame = 1 << 20

// readFrames calls each for every frame until the end of the stream. It returns
// an error for a line that is no frame.
func readFrames(r io.Reader, each func(frame) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 16<<10), maxFrame)
	for sc.Scan() {
		var f frame
		if err := json.Unmarshal(sc.Bytes(), &f); err != nil {
			return fmt.Errorf("read measuring process: %w", err)
		}
		if f.Type == frameSubject && (f.Subject == nil || f.Subject.Kind == "" || f.Subject.ID == "") {
			return fmt.Errorf("read measuring process: a subject without a name")
		}
		if err := each(f); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read measuring process: %w", err)
	}
	return nil
}
