package ruby

import (
	"errors"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of one specification; those that list thousands of files have 500 KB.
const (
	sizeSpec     = 4 << 20
	mostLicences = 16
)

var errSpec = errors.New("not as RubyGems writes specifications")

func read(h *host.Host, texts *licence.Texts, file string) ([]inventory.Component, error) {
	data, err := h.ReadFile(file, sizeSpec)
	if err != nil {
		return nil, err
	}
	c, err := parseSpec(string(data))
	if err != nil {
		return nil, err
	}
	c.Locations = located(h, file)
	dir := strings.TrimSuffix(path.Dir(file), "/default")
	gem := path.Join(path.Dir(dir), "gems", strings.TrimSuffix(path.Base(file), extension)) // beside the specifications
	c.Licence = licence.Named(texts.Complete(c.Licence, installed.Licences(h, gem)...), c.Name)
	return []inventory.Component{c}, nil
}

// located gives the directory of a gem, which has the name of the specification.
func located(h *host.Host, file string) []inventory.Location {
	home, gem := path.Dir(path.Dir(file)), strings.TrimSuffix(path.Base(file), extension)
	if path.Base(path.Dir(file)) == "default" { // of Ruby itself, with its own files
		return nil
	}
	return installed.Recorded(h, path.Join(home, "gems", gem))
}

// parseSpec reads a specification as Gem::Specification#to_ruby writes it. It is
// a program of Ruby, of which only the assignments of literals are understood. One
// written by hand may compute its name, which then stands in no literal.
func parseSpec(text string) (inventory.Component, error) {
	fields := make(map[string][]string)
	platform, stubs := "", 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if stub, ok := strings.CutPrefix(line, "# stub: "); ok {
			if words := strings.Fields(stub); stubs == 0 && len(words) >= 3 && words[2] != "ruby" {
				platform = host.Text(words[2], 64) // a second such line names extensions
			}
			stubs++
			continue
		}
		field, value, ok := strings.Cut(line, " = ")
		field, ours := strings.CutPrefix(field, "s.")
		if !ok || !ours || len(fields[field]) > 0 {
			continue
		}
		switch field {
		case "name", "version", "license", "licenses", "authors", "author":
			fields[field] = literals(value)
		}
	}
	first := func(names ...string) string {
		for _, name := range names {
			if len(fields[name]) > 0 {
				return host.Text(strings.TrimSpace(fields[name][0]), 256)
			}
		}
		return ""
	}
	gem, version := first("name"), first("version")
	if gem == "" || version == "" {
		return inventory.Component{}, errSpec
	}
	return inventory.Component{
		Ecosystem: name, Name: gem, Version: version, Supplier: first("authors", "author"),
		PURL:    installed.PURL("gem", "", gem, version, "platform", platform),
		Licence: stated(append(fields["licenses"], fields["license"]...)),
	}, nil
}

// stated reads the licences. Several may be meant as a choice or together, which
// nothing says: all must be free for the gem to be.
func stated(names []string) inventory.Licence {
	if len(names) == 0 || len(names) > mostLicences {
		return inventory.Licence{}
	}
	l := inventory.Licence{Declared: host.Text(strings.Join(names, ", "), 256), Source: "gemspec"}
	if len(names) == 1 {
		l.Expression, l.Freedom = spdx.Named(names[0])
		return l
	}
	expressions := make([]string, len(names))
	for i, name := range names {
		expression, freedom := spdx.Named(name)
		if expression == "" || freedom != inventory.Free {
			return l
		}
		expressions[i] = "(" + expression + ")"
	}
	l.Expression, l.Freedom = spdx.Expression(strings.Join(expressions, " OR "))
	return l
}

// literals gives the strings of a literal of Ruby: one, or a list of them. What
// is no literal gives none.
func literals(text string) []string {
	var found []string
	text, list := strings.CutPrefix(text, "[")
	for len(found) <= mostLicences {
		word, rest, ok := literal(text)
		if !ok {
			return nil
		}
		found = append(found, word)
		text = strings.TrimPrefix(rest, ".freeze")
		if !list {
			return found
		}
		if text, ok = strings.CutPrefix(text, ", "); !ok {
			return found
		}
	}
	return found
}

// literal reads one string in double quotes, as String#dump writes it.
func literal(text string) (word, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c != '\\':
			b.WriteByte(c)
		case strings.HasPrefix(text[i:], `\u`):
			digits, size := text[i+2:min(i+6, len(text))], 5
			if inner, ok := strings.CutPrefix(text[i:], `\u{`); ok {
				digits, _, _ = strings.Cut(inner[:min(len(inner), 8)], "}")
				size = len(digits) + 3
			}
			code, err := strconv.ParseUint(digits, 16, 32)
			if err != nil {
				return "", "", false
			}
			b.WriteRune(rune(code))
			i += size
		case i+1 < len(text):
			i++
			if text[i] == 'n' {
				b.WriteByte(' ')
			} else if text[i] < utf8.RuneSelf {
				b.WriteByte(text[i])
			}
		}
	}
	return "", "", false
}
