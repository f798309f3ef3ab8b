package spdx

import (
	"slices"
	"strings"

	"cityward/collectors/inventory"
)

// Debian turns the License line of a machine-readable copyright file into an
// SPDX expression, and says whether what it allows is free. The expression is
// empty if a name in it is not known.
func Debian(line string) (string, inventory.Freedom) {
	p := parser{words: tokens(line)}
	if len(p.words) == 0 || len(p.words) > 128 {
		return "", inventory.FreedomUnknown
	}
	t := p.list()
	if p.failed || len(p.words) > 0 || p.bare && p.or {
		return "", inventory.FreedomUnknown
	}
	return t.text, t.freedom
}

// tokens splits a line into words, commas and parentheses.
func tokens(line string) []string {
	for _, mark := range []string{",", "(", ")"} {
		line = strings.ReplaceAll(line, mark, " "+mark+" ")
	}
	return strings.Fields(line)
}

// term is a part of an expression.
type term struct {
	text    string
	freedom inventory.Freedom
	or      bool // it is an alternative: needs parentheses within AND
}

// parser reads the syntax of chapter 7.2 of the format: "and" binds more than
// "or", and both bind more than they do after a comma.
type parser struct {
	words  []string // not yet read
	legacy bool     // names of several words, as Fedora had them
	strict bool     // the grammar and the ids of SPDX, not Debian's
	failed bool
	bare   bool // there was a comma alone: "and", unless there is an "or"
	or     bool
	depth  int
}

func (p *parser) peek(word string) bool {
	return len(p.words) > 0 && strings.EqualFold(p.words[0], word)
}

func (p *parser) take(word string) bool {
	if !p.peek(word) {
		return false
	}
	p.words = p.words[1:]
	return true
}

func (p *parser) list() term {
	t := p.alternatives()
	for !p.failed && p.take(",") {
		switch {
		case p.take("or"):
			p.or = true
			t = either(t, p.alternatives())
		case p.take("and"):
			t = both(t, p.alternatives())
		default:
			p.bare = true
			t = both(t, p.alternatives())
		}
	}
	return t
}

func (p *parser) alternatives() term {
	t := p.conjunction()
	for !p.failed && p.take("or") {
		p.or = true
		t = either(t, p.conjunction())
	}
	return t
}

func (p *parser) conjunction() term {
	t := p.single()
	for !p.failed && p.take("and") {
		t = both(t, p.single())
	}
	return t
}

func (p *parser) single() term {
	if p.take("(") {
		if p.depth++; p.depth > 8 {
			p.failed = true
			return term{}
		}
		t := p.list()
		p.failed = p.failed || !p.take(")")
		p.depth--
		return t
	}
	if len(p.words) == 0 {
		p.failed = true
		return term{}
	}
	name := p.words[0]
	p.words = p.words[1:]
	id, freedom := p.identify(name)
	if id == "" {
		p.failed = true
		return term{}
	}
	if p.take("with") {
		id = p.exception(id)
	}
	return term{text: id, freedom: freedom}
}

// exception reads what follows "with", up to the word exception. It permits
// more than its licence does, so the freedom stays.
func (p *parser) exception(id string) string {
	if p.strict {
		return p.strictException(id)
	}
	end := slices.IndexFunc(p.words, func(word string) bool { return strings.EqualFold(word, "exception") })
	name := p.words
	if end >= 0 {
		name, p.words = p.words[:end], p.words[end+1:]
	} else {
		p.words = nil
	}
	with := exceptionID(id, strings.ToLower(strings.Join(name, " ")))
	p.failed = p.failed || with == ""
	return id + " WITH " + with
}

func either(a, b term) term {
	free := inventory.FreedomUnknown
	switch {
	case a.freedom == inventory.Free || b.freedom == inventory.Free:
		free = inventory.Free
	case a.freedom == inventory.NonFree && b.freedom == inventory.NonFree:
		free = inventory.NonFree
	}
	return term{text: a.text + " OR " + b.text, freedom: free, or: true}
}

func both(a, b term) term {
	free := inventory.FreedomUnknown
	switch {
	case a.freedom == inventory.NonFree || b.freedom == inventory.NonFree:
		free = inventory.NonFree
	case a.freedom == inventory.Free && b.freedom == inventory.Free:
		free = inventory.Free
	}
	return term{text: a.within() + " AND " + b.within(), freedom: free}
}

func (t term) within() string {
	if t.or {
		return "(" + t.text + ")"
	}
	return t.text
}
