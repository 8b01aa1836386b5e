package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestGuideConfigurationReference writes the page of every key of wavelock.yaml
// from the structs that read it, with their comments and defaults.
func TestGuideConfigurationReference(t *testing.T) {
	ref := reference{t: t, said: fieldComments(t), defaults: map[string]string{}}
	ref.flatten("", reflect.ValueOf(defaultConfig()))
	ref.b.WriteString("# Configuration: every key of wavelock.yaml\n\n" +
		fold("wavelock init writes the file with comments; this page is drawn from the code that reads it. Paths are relative to the file. Durations are like 90s, 10m, 24h. In a line, = is what holds without the key. An unknown key is an error with its line and column.", 78, "") + "\n")
	ref.section("", reflect.TypeFor[Config](), 0)
	if n := strings.Count(ref.b.String(), "\n* "); n < 100 {
		t.Errorf("only %d keys were found", n)
	}
	current(t, guideFile("configuration"), ref.b.String())
}

// fieldComments are the comments of all struct fields, by package, type and field.
func fieldComments(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			above := ""
			for _, f := range st.Fields.List {
				if f.Doc != nil {
					above = f.Doc.Text()
				}
				text := strings.TrimSpace(f.Comment.Text())
				if text == "" {
					text = above
				}
				above = ""
				for _, name := range f.Names {
					all[s.pkg+"."+spec.Name.Name+"."+name.Name] = text
				}
			}
			return true
		})
	}
	return all
}

var zeroes = regexp.MustCompile(`^(\d+[hm])(0m)?0s$`)

type reference struct {
	t        *testing.T
	said     map[string]string // comments of fields
	defaults map[string]string // by path
	b        strings.Builder
}

// key is the name of a field in the file; empty where it is none of the file's.
func key(f reflect.StructField) string {
	for _, tag := range []string{"yaml", "json"} {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" && name != "-" {
			return name
		}
	}
	return ""
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// flatten notes every default that is not the zero of its type.
func (r *reference) flatten(path string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key(f) == "" {
			continue
		}
		at, value := under(path, key(f)), v.Field(i)
		switch {
		case f.Type.Kind() == reflect.Struct:
			r.flatten(at, value)
		case value.IsZero():
		default:
			if b, err := json.Marshal(value.Interface()); err == nil && len(b) < 60 {
				r.defaults[at] = zeroes.ReplaceAllString(strings.Trim(string(b), `"`), "$1")
			}
		}
	}
}

// fields are the keys below a type; those of a list's or map's elements count.
func fields(t reflect.Type) (reflect.Type, string) {
	mark := ""
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
		if t.Kind() == reflect.Slice {
			mark += "[]"
		} else if t.Kind() == reflect.Map {
			mark += ".NAME"
		}
		t = t.Elem()
	}
	return t, mark
}

func (r *reference) section(path string, of reflect.Type, depth int) {
	if depth > 4 {
		r.t.Fatalf("%s goes in circles", path)
	}
	if path != "" {
		fmt.Fprintf(&r.b, "\n## `%s`\n", path)
	}
	r.b.WriteString("\n")
	type below struct {
		path string
		t    reflect.Type
	}
	var later []below
	for i := range of.NumField() {
		f := of.Field(i)
		name := key(f)
		if name == "" {
			continue
		}
		pkg := strings.TrimPrefix(of.PkgPath(), "wavelock/")
		if of.PkgPath() == "main" || strings.HasSuffix(of.PkgPath(), "cmd/wavelock") {
			pkg = "cmd/wavelock"
		}
		said := strings.Join(strings.Fields(r.said[pkg+"."+of.Name()+"."+f.Name]), " ")
		line := "`" + name + "`"
		if d := r.defaults[under(path, name)]; d != "" {
			line += " = " + d
		}
		if said != "" {
			line += ": " + strings.TrimPrefix(strings.TrimPrefix(said, f.Name+" is "), f.Name+" ")
		}
		inner, mark := fields(f.Type)
		if inner.Kind() == reflect.Struct && hasKeys(inner) {
			later = append(later, below{under(path, name) + mark, inner})
		}
		text := strings.TrimLeftFunc(fold(line, 78, "  "), unicode.IsSpace)
		fmt.Fprintf(&r.b, "* %s\n", text)
	}
	for _, l := range later {
		r.section(l.path, l.t, depth+1)
	}
}

func hasKeys(t reflect.Type) bool {
	for i := range t.NumField() {
		if key(t.Field(i)) != "" {
			return true
		}
	}
	return false
}
