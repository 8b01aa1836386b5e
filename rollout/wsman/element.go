package wsman

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of an answer. A list of all scheduled tasks has some ten thousand elements, none deeper than a dozen.
const (
	maxDepth    = 64
	maxElements = 500_000
)

const xsiNamespace = "http://www.w3.org/2001/XMLSchema-instance"

// Element is a parsed XML element. Names are local: Windows uses different namespaces for the same thing.
type Element struct {
	Name     string
	Space    string
	Attrs    []xml.Attr
	Text     string
	Children []*Element
}

// Field is a child to be: a value, several values of the same name, a null or nested fields.
type Field struct {
	Name   string
	Value  string
	Values []string // instead of Value, even when empty
	Fields []Field  // instead of Value
	Nil    bool     // xsi:nil
}

// NewElement makes the body of a Put or Create.
func NewElement(name string, fields ...Field) *Element {
	e := &Element{Name: name}
	for _, f := range fields {
		e.add(f)
	}
	return e
}

func (e *Element) add(f Field) {
	switch {
	case f.Values != nil:
		for _, v := range f.Values {
			e.Children = append(e.Children, &Element{Name: f.Name, Text: v})
		}
	case f.Fields != nil:
		e.Children = append(e.Children, NewElement(f.Name, f.Fields...))
	case f.Nil:
		e.Children = append(e.Children, &Element{Name: f.Name, Attrs: []xml.Attr{{Name: xml.Name{Space: xsiNamespace, Local: "nil"}, Value: "true"}}})
	default:
		e.Children = append(e.Children, &Element{Name: f.Name, Text: f.Value})
	}
}

// Child is the first child of that name, nil if there is none; it may be asked of nil.
func (e *Element) Child(name string) *Element {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// At follows a path of names.
func (e *Element) At(names ...string) *Element {
	for _, n := range names {
		e = e.Child(n)
	}
	return e
}

// All is the children of that name.
func (e *Element) All(name string) []*Element {
	var all []*Element
	if e != nil {
		for _, c := range e.Children {
			if c.Name == name {
				all = append(all, c)
			}
		}
	}
	return all
}

// Value is the value of the first child of that name, empty if there is none.
func (e *Element) Value(name string) string { return e.Child(name).value() }

// Values is the values of all children of that name, without nulls.
func (e *Element) Values(name string) []string {
	var all []string
	for _, c := range e.All(name) {
		if !c.Nil() {
			all = append(all, c.value())
		}
	}
	return all
}

// value unwraps what WMI puts around dates: <InstallDate><cim:Datetime>...</cim:Datetime></InstallDate>.
func (e *Element) value() string {
	if e == nil {
		return ""
	}
	if len(e.Children) == 1 {
		switch c := e.Children[0]; c.Name {
		case "Datetime", "Interval", "Date", "Time":
			return c.Text
		}
	}
	return e.Text
}

// Nil tells if the element is a null of WMI; so is one that is not there.
func (e *Element) Nil() bool {
	if e == nil {
		return true
	}
	for _, a := range e.Attrs {
		if a.Name.Space == xsiNamespace && a.Name.Local == "nil" {
			return a.Value == "true" || a.Value == "1"
		}
	}
	return false
}

// Attr is the value of an attribute by its local name, empty if there is none.
func (e *Element) Attr(name string) string {
	if e != nil {
		for _, a := range e.Attrs {
			if a.Name.Local == name {
				return a.Value
			}
		}
	}
	return ""
}

// Set gives the first child of that name a new value, and makes it if need be.
func (e *Element) Set(name, value string) {
	if c := e.Child(name); c != nil {
		c.Text, c.Children, c.Attrs = value, nil, nil
		return
	}
	e.add(Field{Name: name, Value: value})
}

// Remove drops all children of that name.
func (e *Element) Remove(name string) {
	kept := e.Children[:0]
	for _, c := range e.Children {
		if c.Name != name {
			kept = append(kept, c)
		}
	}
	e.Children = kept
}

// Parse reads one XML document within the limits of this package.
func Parse(b []byte) (*Element, error) {
	if short, texts := liftTexts(b); texts != nil {
		if root, err := parse(short); err == nil && putBack(root, texts) == len(texts) {
			return root, nil
		}
	}
	return parse(b)
}

func parse(b []byte) (*Element, error) {
	p := parser{decoder: xml.NewDecoder(bytes.NewReader(b))}
	for {
		tok, err := p.decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := p.take(tok); err != nil {
			return nil, err
		}
	}
	if p.root == nil {
		return nil, errors.New("no XML")
	}
	return p.root, nil
}

type parser struct {
	decoder *xml.Decoder
	root    *Element
	open    []openElement
	count   int
}

// openElement gathers its text apart: a host could else make us copy the same text for each of many children.
type openElement struct {
	*Element
	text []byte
}

func (p *parser) take(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return errors.New("XML with a document type is refused")
	case xml.StartElement:
		return p.start(tok)
	case xml.EndElement:
		last := len(p.open) - 1 // the decoder has matched it
		p.open[last].close()
		p.open = p.open[:last]
	case xml.CharData:
		if len(p.open) > 0 {
			e := &p.open[len(p.open)-1]
			e.text = append(e.text, tok...)
		}
	}
	return nil
}

func (p *parser) start(tok xml.StartElement) error {
	if p.count++; p.count > maxElements || len(p.open) >= maxDepth {
		return fmt.Errorf("XML of more than %d elements or %d levels is refused", maxElements, maxDepth)
	}
	e := &Element{Name: tok.Name.Local, Space: tok.Name.Space, Attrs: attributes(tok.Attr)}
	switch {
	case len(p.open) > 0:
		parent := p.open[len(p.open)-1].Element
		parent.Children = append(parent.Children, e)
	case p.root == nil:
		p.root = e
	default:
		return errors.New("XML with two roots is refused")
	}
	p.open = append(p.open, openElement{Element: e})
	return nil
}

// close drops the white space between children.
func (e *openElement) close() {
	e.Text = string(e.text)
	if len(e.Children) > 0 && strings.TrimSpace(e.Text) == "" {
		e.Text = ""
	}
}

// attributes drops namespace declarations: names have been resolved by then.
func attributes(all []xml.Attr) []xml.Attr {
	var kept []xml.Attr
	for _, a := range all {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			kept = append(kept, a)
		}
	}
	return kept
}
