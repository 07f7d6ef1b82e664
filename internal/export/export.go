// Package export writes what is needed to reproduce a change of one program
// elsewhere: a folder that can be attached to a report as it is.
package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lastgood/internal/report"
	"lastgood/internal/snapshot"
	"lastgood/loader"
)

// Case is one program, on the kernel it was well on and on the one it changed on.
type Case struct {
	Object     []byte // the ELF file, as it was measured
	ObjectName string // its name; a path is cut to its base
	Program    string // name of the program in the object
	// Values are what the object's variables were set to before loading; nil for none.
	Values map[string]json.RawMessage
	// Commands are those that repeat the measurement with lastgood, run in the folder;
	// the file of values is ValuesFile, the object's is FileName(ObjectName).
	Commands []string
	Before   *Side // nil where nothing is known of another kernel
	Now      Side
}

// Side is the program on one kernel.
type Side struct {
	Identity    snapshot.Identity
	Subject     snapshot.Subject    // the program as measured, for veristat's CSV
	Explanation *loader.Explanation // nil where none was made
}

// ValuesFile is the name of the file of values in the folder.
const ValuesFile = "values.json"

// file is one file of the folder.
type file struct {
	name string
	data []byte
}

// Write makes the folder dir and writes the case into it. The folder appears whole
// or not at all; one that is there already must be empty.
//
// Of the host, only what identifies its kernel is written, by a list of what may
// be: no name, no machine or boot id, no hardware, and of the command line only
// what the verifier and the JIT go by. The values are written as they are given.
func Write(dir string, c Case) error {
	files, err := c.files()
	if err != nil {
		return fmt.Errorf("export %s: %w", c.Program, err)
	}
	if err := place(dir, files); err != nil {
		return fmt.Errorf("export %s to %s: %w", c.Program, dir, err)
	}
	return nil
}

func (c *Case) files() ([]file, error) {
	if len(c.Object) == 0 {
		return nil, errors.New("the object is not at hand")
	}
	out := []file{{FileName(c.ObjectName), c.Object}}
	if len(c.Values) > 0 {
		if err := appendJSON(&out, ValuesFile, c.Values); err != nil {
			return nil, err
		}
	}
	sides := []struct {
		name string
		side *Side
	}{{"before", c.Before}, {"now", &c.Now}}
	for _, s := range sides {
		if s.side == nil {
			continue
		}
		if err := s.side.files(&out, s.name, c.id()); err != nil {
			return nil, err
		}
	}
	text, err := c.explanation()
	if err != nil {
		return nil, err
	}
	if text != nil {
		out = append(out, file{"explanation.txt", text})
	}
	out = append(out, file{"commands.sh", []byte(c.commands())}, file{"README.txt", []byte(c.readme())})
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// id is the program as both CSV files name it: veristat joins them by it.
func (c *Case) id() string { return FileName(c.ObjectName) + "/" + c.Program }

func (s *Side) files(out *[]file, name, id string) error {
	sub := s.Subject
	sub.ID, sub.Kind = id, "bpf.program"
	var csv bytes.Buffer
	if err := report.ProgramsCSV(&csv, &snapshot.Snapshot{Subjects: []snapshot.Subject{sub}}); err != nil {
		return err
	}
	*out = append(*out, file{name + ".csv", csv.Bytes()})
	if err := appendJSON(out, name+".kernel.json", kernelOf(&s.Identity)); err != nil {
		return err
	}
	if s.Explanation == nil {
		return nil
	}
	return appendJSON(out, name+".explanation.json", s.Explanation)
}

// explanation is for people; nil where there is nothing to say.
func (c *Case) explanation() ([]byte, error) {
	var b bytes.Buffer
	now := c.Now.Explanation
	if now == nil {
		return nil, nil
	}
	if c.Before != nil && c.Before.Explanation != nil {
		if err := report.Growth(&b, loader.Compare(*c.Before.Explanation, *now), report.Options{}); err != nil {
			return nil, err
		}
	}
	if err := report.Explanation(&b, *now, report.Options{}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func appendJSON(out *[]file, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*out = append(*out, file{name, append(data, '\n')})
	return nil
}

// FileName is the name that an object has in the folder: the base of its own,
// without what a shell, a file system or veristat's CSV would trip over, and
// never that of another file there.
func FileName(object string) string {
	name := object[strings.LastIndexByte(object, '/')+1:]
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
	name = strings.TrimSuffix(name, ".o")
	name = strings.TrimLeft(name[max(0, len(name)-100):], ".-")
	if name == "" {
		name = "object"
	}
	return name + ".o" // no other file of the folder ends so
}
