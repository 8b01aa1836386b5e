package ldaptest

import (
	"crypto/sha256"
	"strings"
)

// Entry is an object of the directory.
type Entry struct {
	DN         string
	Attributes []Attribute
}

// Attribute is a name and its values, text or binary.
type Attribute struct {
	Name   string
	Values []string
}

// Put replaces the values of an attribute; without values it removes the attribute.
func (e *Entry) Put(name string, values ...string) {
	for i, a := range e.Attributes {
		if !strings.EqualFold(a.Name, name) {
			continue
		}
		if len(values) == 0 {
			e.Attributes = append(e.Attributes[:i], e.Attributes[i+1:]...)
		} else {
			e.Attributes[i].Values = values
		}
		return
	}
	if len(values) > 0 {
		e.Attributes = append(e.Attributes, Attribute{name, values})
	}
}

// Values are the values of an attribute, none if it is absent.
func (e *Entry) Values(name string) []string {
	for i := range e.Attributes {
		if strings.EqualFold(e.Attributes[i].Name, name) {
			return e.Attributes[i].Values
		}
	}
	return nil
}

// First is the first value of an attribute.
func (e *Entry) First(name string) string {
	if v := e.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (e *Entry) clone() *Entry {
	c := &Entry{DN: e.DN, Attributes: make([]Attribute, len(e.Attributes))}
	copy(c.Attributes, e.Attributes)
	return c
}

// guid is an objectGUID that depends on the name alone.
func guid(dn string) string {
	sum := sha256.Sum256([]byte(normal(dn)))
	return string(sum[:16])
}
