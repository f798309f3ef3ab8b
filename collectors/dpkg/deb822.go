package dpkg

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// Bounds of what a hostile file can make this room hold.
const (
	sizeLine   = 64 << 10 // of a line whose value is kept, and of the read buffer
	sizeStanza = 1 << 20
)

// field is a field to keep, with or without its continuation lines.
type field struct {
	name  string
	lines bool
}

// scanner reads the stanzas of deb822(5): fields of one or more lines, stanzas
// apart by empty lines. It keeps the fields that were asked for and allocates
// nothing per stanza.
type scanner struct {
	in     *bufio.Reader
	keep   []field
	values [][]byte // of the fields in keep, in their order; empty if absent

	bad  bool  // the present stanza breaks the format or a bound
	torn bool  // the input ended within a line of the present stanza
	err  error // why reading stopped, nil at the end of the input
}

func newScanner(in *bufio.Reader, keep ...field) *scanner {
	return &scanner{in: in, keep: keep, values: make([][]byte, len(keep))}
}

// next reads one stanza and reports whether there was one. A stanza that is bad
// is read to its end, so that the next one is sound.
func (s *scanner) next() bool {
	s.bad, s.torn = false, false
	for i := range s.values {
		s.values[i] = s.values[i][:0]
	}
	size, within, rest, kept := 0, false, false, -1
	for {
		line, err := s.in.ReadSlice('\n')
		end, cut := errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !end && !cut {
			s.err = err
			return false
		}
		text := bytes.TrimRight(line, " \t\r\n")
		switch {
		case rest: // of a line longer than the buffer
		case len(text) > 0:
			within = true
			kept = s.line(text, kept, cut)
		case cut: // more white space than any file has
			within, s.bad = true, true
		case within:
			return true
		}
		rest = cut
		if within {
			size += len(line)
		}
		if size > sizeStanza {
			s.bad = true
		}
		if end {
			s.torn = len(line) > 0
			return within
		}
	}
}

// line takes in one line of a stanza; cut says that it goes on. It is given and
// returns which field continuation lines belong to, -1 for one not kept.
func (s *scanner) line(text []byte, kept int, cut bool) int {
	if bytes.IndexByte(text, 0) >= 0 {
		s.bad = true
	}
	if text[0] == ' ' || text[0] == '\t' {
		if kept >= 0 && s.keep[kept].lines {
			s.values[kept] = append(append(s.values[kept], '\n'), bytes.TrimLeft(text, " \t")...)
			s.bad = s.bad || cut || len(s.values[kept]) > sizeLine
			s.values[kept] = s.values[kept][:min(len(s.values[kept]), sizeLine)]
		}
		return kept
	}
	name, value, ok := bytes.Cut(text, []byte(":"))
	if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		s.bad = true
		return -1
	}
	for i, f := range s.keep {
		if len(f.name) == len(name) && strings.EqualFold(f.name, string(name)) {
			s.bad = s.bad || cut
			s.values[i] = append(s.values[i][:0], bytes.TrimLeft(value, " \t")...)
			return i
		}
	}
	return -1
}
