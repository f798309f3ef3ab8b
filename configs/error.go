package configs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a file that a person wrote.
type Error struct {
	File   string // "" where the file has no name
	Line   int    // from 1
	Column int    // from 1, in characters
	Key    string // dotted, as in the file: transfer.expires; "" no key
	Reason string // what is wrong, and what was meant where that can be told
}

// Error gives FILE:LINE:COLUMN: key: reason, the form editors jump to.
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
	}
	b.WriteString(strconv.Itoa(e.Line) + ":" + strconv.Itoa(e.Column) + ": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}

// Errors is every mistake of a file in the order of their places.
type Errors []Error

// Error gives one line a mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first mistake.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// sorted orders the mistakes by place; nil if there are none.
func (e Errors) sorted() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return e
}

// lines turns offsets in a text into lines and columns.
type lines struct {
	text   string
	starts []int // offset of each line; made when first asked
}

// at gives the line and the column, both from 1, of an offset. Columns count
// characters: an editor shows José as four.
func (l *lines) at(offset int) (line, column int) {
	if l.starts == nil {
		l.starts = append(l.starts, 0)
		for i := range len(l.text) {
			if l.text[i] == '\n' {
				l.starts = append(l.starts, i+1)
			}
		}
	}
	offset = min(max(offset, 0), len(l.text))
	line, exact := slices.BinarySearch(l.starts, offset)
	if exact {
		line++
	}
	return line, utf8.RuneCountInString(l.text[l.starts[line-1]:offset]) + 1
}
