package contract

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"lastgood/internal/sysfs"
)

// Folder is where contracts stand.
const Folder = "/etc/lastgood/contract.d"

// Bounds on what is written down.
const (
	maxFiles  = 64
	maxChecks = 500
)

// Parse reads the contracts of one file; name is used in errors. An error says the line and the column.
func Parse(b []byte, name string) ([]Contract, error) {
	fail := func(err error) ([]Contract, error) {
		return nil, fmt.Errorf("read contract %s: %s", name, firstLine(yaml.FormatError(err, false, false)))
	}
	if len(b) >= maxFile {
		return nil, fmt.Errorf("read contract %s: larger than %d bytes", name, maxFile-1)
	}
	if err := depth(b); err != nil {
		return fail(err)
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return fail(err)
	}
	var out []Contract
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if err := noAliases(doc.Body); err != nil {
			return fail(err)
		}
		var c Contract
		if err := yaml.NodeToValue(doc.Body, &c, yaml.Strict()); err != nil {
			return fail(err)
		}
		c.file = name
		c.line, _ = position(doc.Body)
		if err := c.check(); err != nil {
			return fail(err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read contract %s: it is empty: nothing would be checked", name)
	}
	if err := Unique(out); err != nil {
		return fail(err)
	}
	return out, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// maxDepth bounds nesting: a contract has five levels, and the parser calls itself for each.
const maxDepth = 64

// depth refuses text that opens more brackets, or begins more lists in a line, than a contract can.
func depth(b []byte) error {
	line, open, dashes := 1, 0, 0
	for _, c := range b {
		switch c {
		case '\n':
			line, dashes = line+1, 0
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		case '-', '?', ':':
			dashes++
		}
		if open > maxDepth || dashes > 8*maxDepth {
			return &placedError{line, 1, "nested too deeply"}
		}
	}
	return nil
}

// noAliases refuses anchors and aliases: a few lines of them make gigabytes.
func noAliases(body ast.Node) error {
	v := &aliasFinder{}
	ast.Walk(v, body)
	return v.err
}

type aliasFinder struct{ err error }

func (v *aliasFinder) Visit(n ast.Node) ast.Visitor {
	switch n.Type() {
	case ast.AliasType, ast.AnchorType, ast.MergeKeyType, ast.TagType:
		v.err = at(n, "anchors, aliases and tags are not taken")
		return nil
	}
	return v
}

var (
	goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	errEmpty = "the list of checks is empty: nothing would be checked"
)

// check refuses what could not be meant.
func (c *Contract) check() error {
	here := func(format string, args ...any) error {
		return &placedError{c.line, 1, fmt.Sprintf(format, args...)}
	}
	switch {
	case c.APIVersion != APIVersion:
		return here("apiVersion is %q: this version reads %s", c.APIVersion, APIVersion)
	case c.Kind != ContractKind:
		return here("kind is %q: want %s", c.Kind, ContractKind)
	case !goodName.MatchString(c.Metadata.Name):
		return here("metadata.name is %q: want letters, digits, - and _", c.Metadata.Name)
	case len(c.Checks) == 0:
		return here("%s", errEmpty)
	case len(c.Checks) > maxChecks:
		return here("%d checks: %d at most", len(c.Checks), maxChecks)
	}
	if c.Match != nil && reflect.ValueOf(*c.Match).IsZero() {
		return here("match is empty: leave it out where the contract is for every host")
	}
	if c.Match != nil {
		for _, p := range append(append(append([]string{}, c.Match.Hostname...), c.Match.Product...), c.Match.FileExists...) {
			if _, err := path.Match(p, ""); err != nil {
				return here("match: pattern %q: %v", p, err)
			}
		}
	}
	if err := words(c.Defaults.Severity, c.Defaults.OnRegression); err != nil {
		return here("defaults: %v", err)
	}
	for i := range c.Checks {
		k := &c.Checks[i]
		if err := k.check(); err != nil {
			return &placedError{k.line, k.column, fmt.Sprintf("check %s: %v", k.ID, err)}
		}
		k.inherit(&c.Defaults)
	}
	return nil
}

func words(severity, policy string) error {
	if severity != "" && severity != Required && severity != Wanted && severity != Info {
		return fmt.Errorf("severity %q is none of required, wanted, info", severity)
	}
	if policy != "" && policy != "rollback" && policy != "hold" && policy != "notify" {
		return fmt.Errorf("on_regression %q is none of rollback, hold, notify", policy)
	}
	return nil
}

// Times where nobody says otherwise.
const (
	defaultEvery   = 2 * time.Second
	defaultTimeout = 10 * time.Second
	minEvery       = 100 * time.Millisecond
)

// inherit fills in what a check does not say.
func (k *Check) inherit(d *Defaults) {
	pick := func(own **Duration, def *Duration, last time.Duration) {
		if *own == nil {
			*own = def
		}
		if *own == nil {
			v := Duration(last)
			*own = &v
		}
	}
	pick(&k.Within, d.Within, 0)
	pick(&k.StableFor, d.StableFor, 0)
	pick(&k.Every, d.Every, defaultEvery)
	pick(&k.Timeout, d.Timeout, defaultTimeout)
	if k.Severity == "" {
		k.Severity = d.Severity
	}
	if k.Severity == "" {
		k.Severity = Required
	}
	if k.OnRegression == "" {
		k.OnRegression = d.OnRegression
	}
	if k.OnRegression == "" {
		k.OnRegression = "notify"
	}
}

// Unique refuses two checks, or two contracts, of one name.
func Unique(all []Contract) error {
	names, ids := map[string]string{}, map[string]string{}
	for i := range all {
		c := &all[i]
		if other, twice := names[c.Metadata.Name]; twice {
			return &placedError{c.line, 1, fmt.Sprintf("there are two contracts of the name %s: the other is in %s", c.Metadata.Name, other)}
		}
		names[c.Metadata.Name] = c.file
		for _, k := range c.Checks {
			if other, twice := ids[k.ID]; twice {
				return &placedError{k.line, k.column, fmt.Sprintf("there are two checks of the id %s: the other is at %s", k.ID, other)}
			}
			ids[k.ID] = fmt.Sprintf("%s:%d", c.file, k.line)
		}
	}
	return nil
}

// parsePatience bounds the reading of one file's text, of which 64 KiB take some milliseconds.
const parsePatience = 2 * time.Second

// Load reads the contracts of a folder, in order of their files' names. Files that are no *.yaml or *.yml are passed over. One file
// that cannot be read does not keep the others from being read: they are returned with the error.
func Load(ctx context.Context, root *sysfs.Root, folder string) ([]Contract, error) {
	names, err := listDir(ctx, root, folder)
	if err != nil {
		return nil, err
	}
	var out []Contract
	var errs []error
	files := 0
	for _, n := range names {
		if ext := path.Ext(n); ext != ".yaml" && ext != ".yml" || strings.HasPrefix(n, ".") {
			continue
		}
		if files++; files > maxFiles {
			errs = append(errs, fmt.Errorf("read contracts in %s: more than %d files", folder, maxFiles))
			break
		}
		name := path.Join(folder, n)
		b, err := root.Bytes(ctx, maxFile, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// What is written in a file does not keep a boot waiting, whatever the parser makes of it.
		cs, err := within(ctx, parsePatience, func() ([]Contract, error) { return Parse(b, name) })
		if err == nil {
			err = func() error {
				if err := Unique(append(append([]Contract{}, out...), cs...)); err != nil {
					return fmt.Errorf("read contract %s: %w", name, err)
				}
				return nil
			}()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, cs...)
	}
	return out, errors.Join(errs...)
}
