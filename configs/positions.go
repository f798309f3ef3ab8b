package configs

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// The TOML library gives no place for a key it has read. This file finds the
// places and nothing else: what a document means is the library's to say. So
// the scan may be lenient: it needs to be right about sound documents only, and
// must neither panic nor hang on the others.

// mark is where one value stands in a document, in bytes from its start.
type mark struct {
	key   int              // the key that names it, in the header for a table; of an element the same as value
	value int              // where it begins
	table map[string]*mark // of a table
	items []*mark          // of an array, and of an array of tables
}

// child is the mark of a key in a table; the table's own if there is none.
func (m *mark) child(key string) *mark {
	if c := m.table[key]; c != nil {
		return c
	}
	return m
}

// item is the mark of an element; the array's own if there is none.
func (m *mark) item(i int) *mark {
	if i < len(m.items) {
		return m.items[i]
	}
	return m
}

// maxDepth bounds arrays and tables in one another, and the parts of a key: the
// library's work grows with the square of them, and its stack with them.
const maxDepth = 8

// locate finds the place of every key and element of a TOML document. It fails
// where one goes deeper than maxDepth, and then gives the place of that.
func locate(text string) (root *mark, deep int, ok bool) {
	s := scanner{text: text}
	root = &mark{table: map[string]*mark{}}
	into := root
	for s.skip(true); s.at < len(s.text) && !s.deep; s.skip(true) {
		switch {
		case s.take("[["):
			into = root.enter(s.path(), true)
			s.take("]]")
		case s.take("["):
			into = root.enter(s.path(), false)
			s.take("]")
		default:
			s.pair(into)
		}
	}
	return root, s.at, !s.deep
}

// part is one part of a dotted key.
type part struct {
	name string
	at   int
}

// enter follows the path of a table's header and makes what is missing. The
// last table of an array of tables stands for the array; element adds one.
func (m *mark) enter(path []part, element bool) *mark {
	for i, p := range path {
		next := m.table[p.name]
		if next == nil {
			next = &mark{key: p.at, value: p.at, table: map[string]*mark{}}
			if element && i == len(path)-1 {
				next.table = nil
			}
			m.put(p.name, next)
		}
		switch {
		case element && i == len(path)-1:
			last := &mark{key: p.at, value: p.at, table: map[string]*mark{}}
			next.items = append(next.items, last)
			next = last
		case len(next.items) > 0:
			next = next.items[len(next.items)-1]
		}
		m = next
	}
	return m
}

func (m *mark) put(key string, child *mark) {
	if m.table == nil { // a document that is not sound
		m.table = map[string]*mark{}
	}
	m.table[key] = child
}

// scanner walks over a document.
type scanner struct {
	text  string
	at    int
	depth int
	deep  bool // maxDepth was passed
}

// take steps over a token if it comes next.
func (s *scanner) take(token string) bool {
	if !strings.HasPrefix(s.text[s.at:], token) {
		return false
	}
	s.at += len(token)
	return true
}

// skip steps over blanks, and over line ends and comments if asked.
func (s *scanner) skip(lineEnds bool) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == ' ' || c == '\t':
			s.at++
		case lineEnds && (c == '\n' || c == '\r'):
			s.at++
		case lineEnds && c == '#':
			s.until("\n")
		default:
			return
		}
	}
}

// until steps to the next of some characters, or to the end.
func (s *scanner) until(stops string) {
	if i := strings.IndexAny(s.text[s.at:], stops); i >= 0 {
		s.at += i
	} else {
		s.at = len(s.text)
	}
}

// pair reads one key = value. It always moves on.
func (s *scanner) pair(into *mark) {
	from := s.at
	path := s.path()
	s.skip(false)
	if !s.take("=") || len(path) == 0 {
		s.at = max(s.at, from+1)
		return
	}
	s.skip(false)
	last := path[len(path)-1]
	value := s.value()
	value.key = last.at
	into.enter(path[:len(path)-1], false).put(last.name, value)
}

// path reads a dotted key.
func (s *scanner) path() []part {
	var path []part
	for {
		s.skip(false)
		from := s.at
		name := s.key()
		if s.at == from {
			return path
		}
		if path = append(path, part{name, from}); len(path) > maxDepth {
			s.deep = true
			return path
		}
		if s.skip(false); !s.take(".") {
			return path
		}
	}
}

// key reads one part of a key.
func (s *scanner) key() string {
	from := s.at
	if !s.quoted() {
		s.until(" \t\r\n.=[]{},#\"'")
		return s.text[from:s.at]
	}
	written := s.text[from:s.at]
	if written[0] == '"' && strings.Contains(written, `\`) {
		// Let the library say what the escapes mean.
		var one map[string]any
		if _, err := toml.Decode(written+"=0", &one); err == nil {
			for name := range one {
				return name
			}
		}
	}
	return strings.Trim(written, written[:1])
}

// quoted steps over a string of any of the four kinds, if one comes next.
func (s *scanner) quoted() bool {
	for _, quote := range []string{`"""`, `'''`, `"`, `'`} {
		if s.take(quote) {
			s.rest(quote)
			return true
		}
	}
	return false
}

// rest steps over what follows the opening quote of a string.
func (s *scanner) rest(quote string) {
	for s.at < len(s.text) {
		switch {
		case quote[0] == '"' && s.text[s.at] == '\\':
			s.at = min(s.at+2, len(s.text))
		case s.take(quote):
			// """" ends a string that ends in a quote, """"" one that ends in two.
			if len(quote) == 3 && s.take(quote[:1]) {
				s.take(quote[:1])
			}
			return
		default:
			s.at++
		}
	}
}

// value reads any value.
func (s *scanner) value() *mark {
	m := &mark{value: s.at}
	if s.depth++; s.depth > maxDepth {
		s.deep = true
		return m
	}
	defer func() { s.depth-- }()
	switch {
	case s.quoted():
	case s.take("["):
		for s.skip(true); s.more("]"); s.next(']') {
			item := s.value()
			item.key = item.value
			m.items = append(m.items, item)
		}
	case s.take("{"):
		m.table = map[string]*mark{}
		for s.skip(true); s.more("}"); s.next('}') {
			s.pair(m)
		}
	default:
		s.until(",]}#\r\n")
	}
	return m
}

// more reports whether another element comes before the closing bracket, and
// steps over the bracket if not.
func (s *scanner) more(closing string) bool {
	return s.at < len(s.text) && !s.deep && !s.take(closing)
}

// next steps over what parts two elements. It moves on unless the closing
// bracket comes.
func (s *scanner) next(closing byte) {
	s.skip(true)
	if !s.take(",") && s.at < len(s.text) && s.text[s.at] != closing {
		s.at++ // not sound
	}
	s.skip(true)
}
