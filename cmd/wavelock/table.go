package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/goccy/go-yaml"

	"wavelock/rollout/web"
)

// table is rows for people and for programs.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// write prints the table as asked for; doc is what JSON shows instead of the rows.
func (t *table) write(w io.Writer, output string, doc any) error {
	switch output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(doc)
	case "yaml":
		text, err := asYAML(doc)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	case "csv":
		c := csv.NewWriter(w)
		if err := c.Write(t.head); err != nil {
			return err
		}
		for _, row := range t.rows {
			if err := c.Write(defuse(row)); err != nil {
				return err
			}
		}
		c.Flush()
		return c.Error()
	}
	return t.align(w)
}

// asYAML has the same names in the same order as the JSON.
func asYAML(doc any) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if text, err = yaml.JSONToYAML(text); err != nil {
		return nil, fmt.Errorf("write it as YAML: %w", err)
	}
	return text, nil
}

// defuse keeps a spreadsheet from taking a directory's data for a formula.
func defuse(row []string) []string {
	out := make([]string, len(row))
	for i, cell := range row {
		out[i] = web.Defused(cell)
	}
	return out
}

// align prints the rows in columns, and nothing where there is none: what that means is said in words.
func (t *table) align(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], columns(printable(cell)))
		}
	}
	room := t.lastColumn(w, width)
	for _, row := range append([][]string{t.head}, t.rows...) {
		var b strings.Builder
		for i, cell := range row {
			if i == len(row)-1 {
				b.WriteString(cut(cell, room))
				break
			}
			b.WriteString(padded(printable(cell), width[i]) + "  ")
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// lastColumn is how wide the last column may be: on a terminal, what is left of
// its width, unless that is so little that a broken line reads better.
func (t *table) lastColumn(w io.Writer, width []int) int {
	const any = math.MaxInt
	if !terminal(w) {
		return any
	}
	room, _ := size(w)
	for _, n := range width[:len(width)-1] {
		room -= n + 2
	}
	if room < 20 {
		return any
	}
	return room
}

// printable keeps control characters from a directory off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}
