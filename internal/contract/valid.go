package contract

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// check refuses a check that could not be meant.
func (k *Check) check() error {
	if !goodName.MatchString(k.ID) {
		return fmt.Errorf("id %q: want letters, digits, . - and _", k.ID)
	}
	if err := words(k.Severity, k.OnRegression); err != nil {
		return err
	}
	if k.Every != nil && time.Duration(*k.Every) < minEvery {
		return fmt.Errorf("every %v: less than %v", time.Duration(*k.Every), minEvery)
	}
	if k.Timeout != nil && *k.Timeout == 0 {
		return errors.New("timeout is zero")
	}
	parts := k.parts()
	if len(parts) == 0 {
		return errors.New("it says nothing to check: give unit, mount, dns or another")
	}
	for _, p := range parts {
		if err := required(p.value); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if v, ok := p.value.(interface{ valid() error }); ok {
			if err := v.valid(); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

// part is one kind of check that a Check sets.
type part struct {
	name  string
	value any
}

// parts are the kinds of checks that are set, in the order of the struct.
func (k *Check) parts() []part {
	var out []part
	v := reflect.ValueOf(k).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct && !v.Field(i).IsNil() {
			out = append(out, part{f.Tag.Get("yaml"), v.Field(i).Interface()})
		}
	}
	return out
}

// required refuses a zero value of a field that must be given, and a word that is not among those it may be.
func required(value any) error {
	v := reflect.ValueOf(value).Elem()
	for i := range v.NumField() {
		f, name := v.Type().Field(i), v.Type().Field(i).Tag.Get("yaml")
		if f.Tag.Get("required") != "" && v.Field(i).IsZero() {
			return fmt.Errorf("%s is missing", name)
		}
		if v.Field(i).Kind() == reflect.Slice && !v.Field(i).IsNil() && v.Field(i).Len() == 0 {
			return fmt.Errorf("%s is an empty list", name)
		}
		enum := strings.Split(f.Tag.Get("enum"), ",")
		var words []string
		switch x := v.Field(i).Interface().(type) {
		case string:
			words = []string{x}
		case []string:
			words = x
		}
		for _, w := range words {
			if f.Tag.Get("enum") != "" && w != "" && !contains(enum, w) {
				return fmt.Errorf("%s %q is none of %s", name, w, strings.Join(enum, ", "))
			}
		}
		if name == "regexp" || name == "body" {
			if _, err := regexp.Compile(v.Field(i).String()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func goodPattern(p string) error {
	if !path.IsAbs(p) {
		return fmt.Errorf("%q is no absolute path", p)
	}
	_, err := path.Match(p, "")
	return err
}

func (u *UnitCheck) valid() error {
	if (u.Name == "") == (u.Pattern == "") {
		return errors.New("give name or pattern, one of the two")
	}
	_, err := path.Match(u.Pattern, "")
	return err
}

func (m *MountCheck) valid() error { return goodPattern(m.Path) }
func (f *FileCheck) valid() error  { return goodPattern(f.Path) }
func (c *CountCheck) valid() error { return goodPattern(c.Glob) }

func (b *BlockCheck) valid() error {
	if b.OSDs == (b.Path != "") {
		return errors.New("give path or local_osds, one of the two")
	}
	if b.OSDs {
		return nil
	}
	return goodPattern(b.Path)
}

func (r *RouteCheck) valid() error {
	if r.Gateway == "" {
		return nil
	}
	_, err := netip.ParseAddr(r.Gateway)
	return err
}

func (d *DNSCheck) valid() error {
	_, err := dnsServer(d.Server)
	return err
}

// dnsServer completes an address with port 53.
func dnsServer(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53).String(), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return "", fmt.Errorf("server %q is no address, with or without a port", s)
	}
	return ap.String(), nil
}

func (h *HTTPCheck) valid() error {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("url %q is none of http or https", clip(h.URL))
	}
	return nil
}

func (f *FstabCheck) valid() error {
	if !f.StableOnly && !f.Resolvable && !f.Mounted {
		return errors.New("it asks for nothing")
	}
	return nil
}

func (e *ExecCheck) valid() error {
	if e.Command[0] == "" {
		return errors.New("command is empty")
	}
	if e.JSON == nil {
		return nil
	}
	if err := required(e.JSON); err != nil {
		return fmt.Errorf("json: %w", err)
	}
	if e.JSON.Equals == "" && e.JSON.Regexp == "" && e.JSON.AtLeast == nil {
		return errors.New("json: give equals, regexp or at_least")
	}
	return nil
}

func (b *BPFCheck) valid() error {
	for _, o := range b.Objects {
		if err := goodPattern(o); err != nil {
			return err
		}
	}
	return nil
}
