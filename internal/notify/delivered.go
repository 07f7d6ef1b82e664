package notify

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"lastgood/internal/baseline"
)

// Delivery is the newest message that a target took.
type Delivery struct {
	Target string    `json:"target"`
	Event  string    `json:"event"`
	BootID string    `json:"boot_id"`
	At     time.Time `json:"at"` // by this host's clock
}

// deliveredFile is beside the messages, whose names end in .json.
const deliveredFile = "delivered"

// delivered is the document.
type delivered struct {
	Schema string     `json:"schema"`
	Last   []Delivery `json:"last"`
}

const deliveredSchema = "lastgood.delivered/v1"

// Delivered lists the newest message that each target took; a target that never took one is not in it.
func (s *Spool) Delivered() ([]Delivery, error) {
	var d delivered
	err := s.Folder.Get(deliveredFile, &d, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read what was sent: %w", err)
	case d.Schema != deliveredSchema:
		return nil, fmt.Errorf("read what was sent: schema %q: this version reads %s", d.Schema, deliveredSchema)
	}
	return d.Last, nil
}

// remember writes down what was sent. A target that is asked no more is forgotten, and so is a document that is damaged: nothing
// but a look at it depends on it.
func (f *flush) remember() error {
	if len(f.sent) == 0 {
		return nil
	}
	var d delivered
	err := f.s.Folder.Get(deliveredFile, &d, true)
	var damaged *baseline.DamagedError
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &damaged) {
		return fmt.Errorf("write what was sent: %w", err)
	}
	for _, s := range f.sent {
		d.Last = slices.DeleteFunc(d.Last, func(o Delivery) bool { return o.Target == s.Target || f.by[o.Target].name == "" })
		d.Last = append(d.Last, s)
	}
	d.Schema = deliveredSchema
	if err := f.s.Folder.Put(deliveredFile, d); err != nil {
		return fmt.Errorf("write what was sent: %w", err)
	}
	return nil
}
