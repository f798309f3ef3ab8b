package spdx

import (
	"slices"
	"strings"

	"cityward/collectors/inventory"
)

// Debian turns the License line of a machine-readable copyright file into an
// SPDX expression, and says whether what it allows is free. The expression is
// empty if a name in it is not known.
func Debian(line string) (string, inventory.Freedom) { return DebianText(line, nil) }

// DebianText is Debian for a file that has the texts of its names, too: resolve
// gives the expression of a name's text, "" if that is not known either. It is
// asked for what has no id, and first of all for names that stand for several
// texts.
func DebianText(line string, resolve func(name string) (string, inventory.Freedom)) (string, inventory.Freedom) {
	p := parser{words: tokens(line), resolve: resolve}
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
	words   []string                                      // not yet read
	legacy  bool                                          // names of several words, as Fedora had them
	strict  bool                                          // the grammar and the ids of SPDX, not Debian's
	resolve func(name string) (string, inventory.Freedom) // nil: no texts are at hand
	failed  bool
	bare    bool // there was a comma alone: "and", unless there is an "or"
	or      bool
	depth   int
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
	t := p.identified()
	if p.take("with") && !p.failed {
		p.exception(&t)
	}
	return t
}

// identified reads one name. Debian's may have several words.
func (p *parser) identified() term {
	n := 1
	if !p.strict && !p.legacy {
		n = max(1, slices.IndexFunc(p.words, operator))
		if !slices.ContainsFunc(p.words, operator) {
			n = len(p.words)
		}
	}
	if operator(p.words[0]) {
		p.failed = true
		return term{}
	}
	words := p.words[:n]
	p.words = p.words[n:]
	var t term
	switch {
	case n > 1 || !p.strict && !p.legacy:
		t = p.named(strings.Join(words, "-"))
	default:
		if t = hyphened(words[0]); !p.strict || t.text == "" { // deprecated ids have their exception in them
			t.text, t.freedom = p.identify(words[0])
		}
	}
	p.failed = p.failed || t.text == ""
	return t
}

func operator(word string) bool {
	switch strings.ToLower(word) {
	case "and", "or", "with", ",", "(", ")":
		return true
	}
	return false
}

// named reads a name of Debian's: one that is known, two that an underscore or a
// dash joins, or one with its exception; else its text decides.
func (p *parser) named(name string) term {
	lower := strings.ToLower(name)
	several := ambiguous(lower)
	if several && p.resolve != nil {
		if t := p.resolved(name); t.text != "" && !strings.HasPrefix(t.text, "LicenseRef-") {
			return t
		}
	}
	if id, freedom := identify(lower); id != "" {
		return term{text: id, freedom: freedom}
	}
	for _, joint := range []string{"_or_", "-or-", "_and_", "-and-"} {
		left, right, ok := strings.Cut(lower, joint)
		a, free := identify(left)
		b, also := identify(right)
		if ok && a != "" && b != "" {
			if strings.Contains(joint, "or") {
				return either(term{text: a, freedom: free}, term{text: b, freedom: also})
			}
			return both(term{text: a, freedom: free}, term{text: b, freedom: also})
		}
	}
	if t := hyphened(name); t.text != "" {
		return t
	}
	return p.resolved(name)
}

func (p *parser) resolved(name string) term {
	if p.resolve == nil {
		return term{}
	}
	text, freedom := p.resolve(name)
	return term{text: text, freedom: freedom, or: strings.Contains(text, " OR ")}
}

// ambiguous reports names that stand for several texts, even where an id of
// SPDX's is spelled alike.
func ambiguous(lower string) bool {
	switch lower {
	case "mit", "x11", "bsd", "mit/x11", "hpnd", "permissive", "pd", "public-domain", "bsd-4-clause", "wxwindows":
		return true
	}
	return false
}

// hyphened reads a name that ends in "-exception".
func hyphened(name string) term {
	name, ok := cutException(name)
	for end := len(name); ok && end > 0; {
		end = strings.LastIndexByte(name[:end], '-')
		if end < 0 {
			break
		}
		base, _ := cutFold(name[:end], "-with")
		if id, freedom := identify(base); id != "" {
			t := term{text: id, freedom: freedom}
			addition := name[end+1:]
			if len(addition) > 5 && strings.EqualFold(addition[:5], "with-") {
				addition = addition[5:]
			}
			t.add(exceptionID(id, addition))
			return t
		}
	}
	return term{}
}

// cutFold is strings.CutSuffix whatever the case of letters.
func cutFold(text, suffix string) (string, bool) {
	if at := len(text) - len(suffix); at >= 0 && strings.EqualFold(text[at:], suffix) {
		return text[:at], true
	}
	return text, false
}

// exception reads what follows "with", up to the word exception or the next
// operator.
func (p *parser) exception(t *term) {
	if p.strict {
		p.strictException(t)
		return
	}
	end := slices.IndexFunc(p.words, func(word string) bool { return operator(word) || exceptionWord(word) })
	name := p.words
	if end >= 0 {
		name, p.words = p.words[:end], p.words[end:]
		if exceptionWord(p.words[0]) {
			p.words = p.words[1:]
		}
	} else {
		p.words = nil
	}
	joined, _ := cutException(strings.Join(name, "-"))
	p.failed = p.failed || !t.add(exceptionID(t.text, joined))
}

// cutException cuts the word exception off the end of a name.
func cutException(name string) (string, bool) {
	if cut, ok := cutFold(name, "-exception"); ok {
		return cut, true
	}
	return cutFold(name, "-exceptions")
}

func exceptionWord(word string) bool {
	word = strings.ToLower(word)
	return word == "exception" || word == "exceptions"
}

// add joins an addition to a licence. It permits more than its licence does, so
// the freedom stays, but for the few that restrict.
func (t *term) add(addition string) bool {
	if addition == "" || strings.ContainsAny(t.text, " ") {
		t.text = ""
		return false
	}
	if among(additionsNonFree, addition) {
		t.freedom = inventory.NonFree
	}
	t.text += " WITH " + addition
	return true
}

func either(a, b term) term {
	free := inventory.FreedomUnknown
	switch {
	case slices.Contains(strings.Split(a.text, " OR "), b.text) && !strings.Contains(a.text, " AND "):
		return a // said before
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
	case slices.Contains(strings.Split(a.text, " AND "), b.text) && !a.or && !b.or && !strings.Contains(a.text, "("):
		return a
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
