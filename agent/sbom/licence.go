package sbom

import "strings"

// Bounds of an expression.
const (
	longestExpression = 4096
	deepest           = 32
)

// expressionReader reads the grammar of SPDX 2.3, annex D.
type expressionReader struct {
	words []string
	depth int
	refs  []string
}

// validExpression reports whether a text is an SPDX licence expression in form,
// and which LicenseRef- ids are in it. Whether its other ids are on the list is
// the collectors' business.
func validExpression(text string) (refs []string, ok bool) {
	if text == "" || len(text) > longestExpression {
		return nil, false
	}
	text = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)
	p := &expressionReader{words: strings.Fields(text)}
	if !p.expression() || len(p.words) > 0 {
		return nil, false
	}
	return p.refs, true
}

func (p *expressionReader) next() string {
	if len(p.words) == 0 {
		return ""
	}
	word := p.words[0]
	p.words = p.words[1:]
	return word
}

func (p *expressionReader) expression() bool {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > deepest || !p.term() {
		return false
	}
	for len(p.words) > 0 && (p.words[0] == "AND" || p.words[0] == "OR") {
		p.next()
		if !p.term() {
			return false
		}
	}
	return true
}

func (p *expressionReader) term() bool {
	word := p.next()
	if word == "(" {
		return p.expression() && p.next() == ")"
	}
	if !p.id(strings.TrimSuffix(word, "+")) {
		return false
	}
	if len(p.words) > 0 && p.words[0] == "WITH" {
		p.next()
		return p.id(p.next())
	}
	return true
}

func (p *expressionReader) id(word string) bool {
	if word == "" || word == "AND" || word == "OR" || word == "WITH" {
		return false
	}
	for i := range len(word) {
		c := word[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '.' {
			return false
		}
	}
	if strings.HasPrefix(word, "LicenseRef-") {
		p.refs = append(p.refs, word)
	}
	return true
}

// extracted is a licence that is not on SPDX's list, with what is known of it.
type extracted struct{ ID, Name, Text string }

// licences gives what SPDX documents say of each component's terms, and collects
// the licences that they have to define.
type licences struct {
	known map[string]bool
	all   []extracted
}

// of gives the concluded and the declared expression; "" where unknown. The
// maker's words stand as a LicenseRef- where they are no expression: what they
// mean in ids of the list is the conclusion.
func (l *licences) of(c *component) (concluded, declared string) {
	refs, ok := validExpression(c.Expression)
	if ok {
		concluded = c.Expression
		for _, ref := range refs {
			name := strings.ReplaceAll(strings.TrimPrefix(ref, "LicenseRef-"), "-", " ")
			l.define(extracted{ref, name, "Known by this name only: " + name})
		}
	}
	switch {
	case c.Declared == "":
	case ok && strings.EqualFold(strings.TrimSpace(c.Declared), c.Expression):
		declared = c.Expression
	default:
		declared = "LicenseRef-cityward-" + strings.TrimPrefix(slug(c.Declared, 40)+"-"+fingerprint(c.Declared), "-")
		l.define(extracted{declared, shortened(c.Declared, 128), c.Declared})
	}
	return concluded, declared
}

func (l *licences) define(e extracted) {
	if l.known[e.ID] {
		return
	}
	if l.known == nil {
		l.known = make(map[string]bool)
	}
	l.known[e.ID] = true
	l.all = append(l.all, e)
}

func shortened(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
