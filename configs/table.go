package configs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Bounds of a file. They are far above what a city writes, and keep what is
// made of a file (maps in the kernel, series, reports) bounded too.
const (
	maxFile    = 1 << 20
	maxEntries = 1000 // of one list, and tables of one kind
	maxText    = 4096 // bytes of one string
)

// document is one TOML file that is being read, and what is wrong with it.
type document struct {
	name  string
	lines lines
	errs  Errors
}

func (d *document) fail(offset int, key, reason string) {
	line, column := d.lines.at(offset)
	d.errs = append(d.errs, Error{File: d.name, Line: line, Column: column, Key: key, Reason: reason})
}

// open parses a TOML file and gives its top table. Where the syntax is broken
// there is no table, and the first break is all that can be told.
func open(name string, data []byte) (*table, error) {
	text := strings.TrimPrefix(string(data), "\ufeff")
	doc := &document{name: name, lines: lines{text: text}}
	if len(text) > maxFile {
		doc.fail(0, "", "is larger than 1 MiB")
		return nil, doc.errs
	}
	marks, deep, ok := locate(text)
	if !ok {
		doc.fail(deep, "", fmt.Sprintf("is nested more than %d deep", maxDepth))
		return nil, doc.errs
	}
	var values map[string]any
	if _, err := toml.Decode(text, &values); err != nil {
		broken := toml.ParseError{Message: err.Error()}
		errors.As(err, &broken)
		// Of the library's position only the offset holds in every case.
		doc.fail(broken.Position.Start, broken.LastKey, strings.TrimSuffix(broken.Message, "."))
		return nil, doc.errs
	}
	return &table{doc: doc, values: values, mark: marks}, nil
}

// table is one table of a document. It remembers which keys were asked for:
// what nobody asked for is unknown.
type table struct {
	doc    *document
	path   string // dotted; "" the document
	values map[string]any
	mark   *mark
	asked  []string
}

func (t *table) key(name string) string {
	if bare := (toml.Key{name}.String()); bare != name {
		name = strconv.Quote(name)
	}
	if t.path == "" {
		return name
	}
	return t.path + "." + name
}

// get gives the value of a key, if the table has it.
func (t *table) get(key string) (value, bool) {
	t.asked = append(t.asked, key)
	raw, ok := t.values[key]
	return value{t.doc, t.key(key), raw, t.mark.child(key)}, ok
}

// fail notes a mistake at the value of a key, or at the table's header if the
// table does not have it.
func (t *table) fail(key, format string, args ...any) {
	t.doc.fail(t.mark.child(key).value, t.key(key), fmt.Sprintf(format, args...))
}

// section gives the table [key]; an empty one if it is not there.
func (t *table) section(key string) *table {
	sub := &table{doc: t.doc, path: t.key(key), mark: t.mark.child(key)}
	v, ok := t.get(key)
	if !ok {
		return sub
	}
	if sub.values, ok = v.raw.(map[string]any); !ok {
		v.fail("is %s, want one table [%s]", kind(v.raw), v.key)
	}
	return sub
}

// rows gives the tables [[key]].
func (t *table) rows(key string) []*table {
	v, ok := t.get(key)
	if !ok {
		return nil
	}
	items, ok := v.items()
	if !ok {
		v.fail("is %s, want tables [[%s]]", kind(v.raw), v.key)
		return nil
	}
	var rows []*table
	for _, item := range items {
		values, ok := item.raw.(map[string]any)
		if !ok {
			item.fail("is %s, want a table [[%s]]", kind(item.raw), v.key)
			continue
		}
		rows = append(rows, &table{doc: t.doc, path: v.key, values: values, mark: item.mark})
	}
	return rows
}

// close reports the keys that nobody asked for.
func (t *table) close() {
	for key := range t.values {
		if !slices.Contains(t.asked, key) {
			t.doc.fail(t.mark.child(key).key, t.key(key), "is unknown"+suggest(key, t.asked))
		}
	}
}

// value is one value of a document.
type value struct {
	doc  *document
	key  string
	raw  any
	mark *mark
}

func (v value) fail(format string, args ...any) {
	v.doc.fail(v.mark.value, v.key, fmt.Sprintf(format, args...))
}

// line is where the value stands.
func (v value) line() int {
	line, _ := v.doc.lines.at(v.mark.value)
	return line
}

// items gives the elements of an array or of an array of tables.
func (v value) items() ([]value, bool) {
	var raws []any
	switch list := v.raw.(type) {
	case []any:
		raws = list
	case []map[string]any:
		for _, m := range list {
			raws = append(raws, m)
		}
	default:
		return nil, false
	}
	if len(raws) > maxEntries {
		v.fail("has %d entries, at most %d are read", len(raws), maxEntries)
		raws = raws[:maxEntries]
	}
	items := make([]value, len(raws))
	for i, raw := range raws {
		items[i] = value{v.doc, v.key, raw, v.mark.item(i)}
	}
	return items, true
}

// reader makes a T of a value. If it cannot, it has noted why.
type reader[T any] func(v value) (T, bool)

// set reads the value of a key, if the table has it.
func set[T any](t *table, key string, into *T, read reader[T]) {
	if v, ok := t.get(key); ok {
		if got, ok := read(v); ok {
			*into = got
		}
	}
}

// need reads the value of a key that the table must have.
func need[T any](t *table, key string, into *T, read reader[T]) {
	if _, ok := t.values[key]; !ok {
		t.fail(key, "is missing")
	}
	set(t, key, into, read)
}

// expect reads a value of exactly the type that the TOML library gives.
func expect[T any](v value) (T, bool) {
	got, ok := v.raw.(T)
	if !ok {
		v.fail("is %s, want %s", kind(v.raw), kind(got))
	}
	return got, ok
}

// text reads a string that people can read on one line.
func text(v value) (string, bool) {
	s, ok := expect[string](v)
	switch {
	case !ok:
	case len(s) > maxText:
		v.fail("is longer than %d bytes", maxText)
	default:
		// Not shown: control characters, and marks that turn the order of
		// letters, so that a reviewer reads what the program reads.
		i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
		if i < 0 {
			return s, true
		}
		r, _ := utf8.DecodeRuneInString(s[i:])
		v.fail("holds %U, which cannot be shown", r)
	}
	return "", false
}

// parsed reads a string that has a form.
func parsed[T any](parse func(string) (T, error)) reader[T] {
	return func(v value) (got T, ok bool) {
		s, ok := text(v)
		if !ok {
			return got, false
		}
		got, err := parse(s)
		if err != nil {
			v.fail("%s", err)
		}
		return got, err == nil
	}
}

// optional reads a string that has a form or is empty.
func optional(parse func(string) (string, error)) reader[string] {
	return parsed(func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	})
}

// listOf reads an array of different elements.
func listOf[T comparable](read reader[T]) reader[[]T] {
	return func(v value) ([]T, bool) {
		items, ok := v.items()
		if !ok {
			v.fail("is %s, want a list", kind(v.raw))
			return nil, false
		}
		var list []T
		unique := once(read)
		for _, item := range items {
			if got, ok := unique(item); ok {
				list = append(list, got)
			}
		}
		return list, true
	}
}

// some reads an array with at least one element.
func some[T any](read reader[[]T]) reader[[]T] {
	return func(v value) ([]T, bool) {
		if items, ok := v.raw.([]any); ok && len(items) == 0 {
			v.fail("is empty")
			return nil, false
		}
		return read(v)
	}
}

// once refuses a value that it has read before.
func once[T comparable](read reader[T]) reader[T] {
	lines := make(map[T]int)
	return func(v value) (T, bool) {
		got, ok := read(v)
		if line := lines[got]; ok && line > 0 {
			v.fail("%v is used before, on line %d", got, line)
			return got, false
		}
		if ok {
			lines[got] = v.line()
		}
		return got, ok
	}
}

// kind names the type of a value for people.
func kind(raw any) string {
	switch raw := raw.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a decimal number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	case time.Time:
		switch raw.Location().String() {
		case "date-local":
			return "a date"
		case "time-local":
			return "a time"
		}
		return "a date with a time"
	}
	return "of another type"
}
