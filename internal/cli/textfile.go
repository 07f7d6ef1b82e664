package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"lastgood/internal/baseline"
	"lastgood/internal/metrics"
	"lastgood/internal/report"
	"lastgood/internal/snapshot"
)

// textfileName is what node_exporter's textfile collector finds: it reads *.prom.
const textfileName = "lastgood.prom"

// writeTextfile writes the metrics of a check into a folder of that collector, whole or
// not at all. The collector's user is another one, so that all may read it.
func (c *check) writeTextfile(snap *snapshot.Snapshot, rep *report.Report) error {
	in := metrics.Input{Report: rep, Snapshot: snap, Kinds: c.kinds, Waiting: -1}
	base, _, err := c.store.LastGood()
	switch {
	case err == nil:
		in.Base = base
	case !errors.Is(err, baseline.ErrNone):
		c.note("the metrics lack what was so at the last good boot", err)
	}
	var b bytes.Buffer
	if err := metrics.WriteText(&b, metrics.Families(in)); err != nil {
		return fmt.Errorf("write textfile: %w", err)
	}
	return replaceFile(filepath.Join(c.textfile, textfileName), b.Bytes())
}

// replaceFile makes a file hold data, for all to read: the old or the new is there.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // ends in no .prom
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// keepReport keeps the report for those who show it: `serve` judges nothing itself.
func (c *check) keepReport(rep *report.Report) {
	if err := saveReport(c.store, rep); err != nil {
		c.note("the report is not kept, so that `lastgood serve` shows an older one", err)
		rep.Notes = append(rep.Notes, c.notes[len(c.notes)-1])
	}
}

// saveReport keeps a report, without its evidence where it is too large with it.
func saveReport(store *baseline.Store, rep *report.Report) error {
	doc, err := reportDocument(rep)
	if err == nil {
		err = store.SaveReport(doc)
	}
	if err == nil {
		return nil
	}
	small := *rep
	small.Findings = slices.Clone(rep.Findings)
	for i := range small.Findings { // evidence is most of a large one
		small.Findings[i].Evidence = ""
	}
	if doc, derr := reportDocument(&small); derr == nil && store.SaveReport(doc) == nil {
		return nil
	}
	return err
}

func reportDocument(rep *report.Report) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := report.JSON(&b, rep, report.Options{}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
