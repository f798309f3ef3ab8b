package configs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ParseSubstitutes reads an operator's own table over the one that ships with
// the program: a row with the id of a shipped one takes its place, any other is
// added. One mistake and nothing of it is used.
func ParseSubstitutes(name string, data []byte, shipped *SubstituteTable) (*SubstituteTable, error) {
	return parseSubstitutes(name, data, shipped)
}

func parseSubstitutes(name string, data []byte, shipped *SubstituteTable) (*SubstituteTable, error) {
	t, err := open(name, data)
	if err != nil {
		return nil, err
	}
	r := substituteReader{own: shipped != nil, known: make(map[string]Substitute)}
	r.table.claims = make(map[string][]claim)
	date := factsHead(t, "substitutes")
	r.date, r.table.Date = date, date
	if r.own {
		r.table.Date, r.table.Own = shipped.Date, date
	}
	substitutes, products := t.rows("substitute"), t.rows("product")
	t.close()
	r.readSubstitutes(substitutes)
	if r.own {
		r.keep(shipped, products)
	}
	r.readProducts(products)
	r.sortClaims()
	if err := t.doc.errs.sorted(); err != nil {
		return nil, err
	}
	return &r.table, nil
}

// substituteReader puts a table together.
type substituteReader struct {
	table SubstituteTable
	date  time.Time
	own   bool
	known map[string]Substitute
}

func (r *substituteReader) readSubstitutes(rows []*table) {
	id := once(parsed(parseID))
	for _, row := range rows {
		var s Substitute
		need(row, "id", &s.ID, id)
		need(row, "name", &s.Name, parsed(parseWords))
		need(row, "licence", &s.Licence, parsed(parseLicence))
		set(row, "debian", &s.Debian, parsed(parsePackage))
		need(row, "source", &s.Source, parsed(parsePage))
		row.close()
		r.known[s.ID] = s
	}
}

// keep takes over the shipped rows that the own table does not replace.
func (r *substituteReader) keep(shipped *SubstituteTable, rows []*table) {
	replaced := make(map[string]bool)
	for _, row := range rows {
		if id, ok := row.values["id"].(string); ok {
			replaced[id] = true
		}
	}
	renewed := r.known
	r.known = make(map[string]Substitute)
	for _, p := range shipped.Products {
		p.Substitutes = slices.Clone(p.Substitutes)
		for i, s := range p.Substitutes {
			if own, ok := renewed[s.ID]; ok {
				p.Substitutes[i] = own
			}
			r.known[s.ID] = p.Substitutes[i]
		}
		if replaced[p.ID] {
			continue
		}
		r.table.Products = append(r.table.Products, p)
		number := len(r.table.Products) - 1
		for _, field := range fields() {
			for _, text := range p.names(field) {
				r.claim(field, text, number, value{})
			}
		}
	}
	maps.Copy(r.known, renewed)
}

func (p *Product) names(field string) []string {
	switch field {
	case byProgram:
		return p.Programs
	case byPath:
		return p.Paths
	case byImage:
		return p.Images
	}
	return p.Packages[field]
}

func (r *substituteReader) readProducts(rows []*table) {
	id, name := once(parsed(parseID)), once(parsed(parseWords))
	for _, row := range rows {
		p := Product{Packages: make(map[string][]string)}
		need(row, "id", &p.ID, id)
		need(row, "name", &p.Name, name)
		need(row, "maker", &p.Maker, parsed(parseWords))
		need(row, "country", &p.Country, parsed(parseCountry))
		need(row, "licence", &p.Licence, parsed(parseLicence))
		need(row, "kind", &p.Kind, parsed(oneOf(ProductNonFree, ProductForeign)))
		set(row, "ambiguous", &p.Ambiguous, expect[bool])
		number := len(r.table.Products)
		for _, ecosystem := range ecosystems() {
			var names []string
			set(row, ecosystem, &names, some(listOf(r.claiming(ecosystem, parsePattern, number))))
			if names != nil {
				p.Packages[ecosystem] = names
			}
		}
		set(row, "programs", &p.Programs, some(listOf(r.claiming(byProgram, parseProgram, number))))
		set(row, "paths", &p.Paths, some(listOf(r.claiming(byPath, parseOwnPath, number))))
		set(row, "images", &p.Images, some(listOf(r.claiming(byImage, parseImage, number))))
		if !slices.ContainsFunc(fields(), func(field string) bool { return row.values[field] != nil }) {
			row.fail("id", "nothing says how to find it: no package, program, path or image")
		}
		need(row, "substitutes", &p.Substitutes, some(listOf(r.substitute)))
		if len(p.Substitutes) > 3 {
			row.fail("substitutes", "has %d entries, at most 3 are of use", len(p.Substitutes))
		}
		need(row, "effort", &p.Effort, parsed(parseWords))
		need(row, "checked", &p.Checked, parsed(oneOf(CheckedArchive, CheckedDocs, CheckedCode, CheckedNames)))
		need(row, "source", &p.Source, parsed(parsePage))
		need(row, "reviewed", &p.Reviewed, lastDay)
		row.close()
		p.Reviewed = p.Reviewed.Truncate(day)
		if !r.date.IsZero() && p.Reviewed.After(r.date) {
			row.fail("reviewed", "is after the date of the table")
		}
		r.table.Products = append(r.table.Products, p)
	}
}

// substitute reads the id of a row [[substitute]].
func (r *substituteReader) substitute(v value) (Substitute, bool) {
	id, ok := text(v)
	if !ok {
		return Substitute{}, false
	}
	s, ok := r.known[id]
	if !ok {
		v.fail("%s is no [[substitute]]", quote(id))
	}
	return s, ok
}

// claiming reads a name of a product and notes whose it is.
func (r *substituteReader) claiming(field string, parse func(string) (string, error), product int) reader[string] {
	read := parsed(parse)
	return func(v value) (string, bool) {
		s, ok := read(v)
		if ok {
			r.claim(field, s, product, v)
		}
		return s, ok
	}
}

func (r *substituteReader) claim(field, name string, product int, at value) {
	text, prefix := strings.CutSuffix(name, "*")
	if field == byPath && !prefix {
		text, prefix = text+"/", true // names are compared with a slash at their end
	}
	r.table.claims[field] = append(r.table.claims[field], claim{normal(field, text), prefix, product, at})
}

// sortClaims makes the claims ready to be looked up, which works only while none
// begins with another.
func (r *substituteReader) sortClaims() {
	for _, list := range r.table.claims {
		slices.SortStableFunc(list, func(a, b claim) int { return cmp.Compare(a.text, b.text) })
		for i := 1; i < len(list); i++ {
			before, c := list[i-1], list[i]
			if before.text != c.text && (!before.prefix || !strings.HasPrefix(c.text, before.text)) {
				continue
			}
			told, other := c, before
			if told.at.doc == nil {
				told, other = before, c
			}
			told.at.fail("is found by a name of %s, too", r.table.Products[other.product].ID)
		}
		for i := range list {
			list[i].at = value{}
		}
	}
}

// parseLicence reads an SPDX expression by its shape, or "proprietary". Whether
// the ids exist is not known here.
func parseLicence(s string) (string, error) {
	words := strings.Split(s, " ")
	if len(words)%2 == 0 {
		return "", fmt.Errorf("%s is no SPDX expression", quote(s))
	}
	for i, word := range words {
		operator := slices.Contains([]string{"AND", "OR", "WITH"}, word)
		if operator != (i%2 == 1) || !operator && !shaped(strings.Trim(word, "()"), ".+-", 1) {
			return "", fmt.Errorf("%s is no SPDX expression", quote(s))
		}
	}
	return s, nil
}

// shaped reports whether a name consists of ASCII letters, digits and, but for
// its begin, some other characters, and is long enough.
func shaped(name, other string, least int) bool {
	for i, r := range name {
		plain := '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !plain && (i == 0 || !strings.ContainsRune(other, r)) {
			return false
		}
	}
	return len(name) >= least
}

// parsePackage reads the name of a Debian package (Debian policy 5.6.1).
func parsePackage(s string) (string, error) {
	if !shaped(s, "+.-", 2) || s != strings.ToLower(s) {
		return "", fmt.Errorf("%s is no name of a Debian package", quote(s))
	}
	return s, nil
}

// Names below this length, before a *, are found in too much else.
const leastName = 3

// parsePattern reads the name of a package, with * for whatever may follow.
func parsePattern(s string) (string, error) {
	if !shaped(strings.TrimPrefix(strings.TrimSuffix(s, "*"), "@"), "@/._+:-", leastName) {
		return "", fmt.Errorf("%s is no name of a package of %d letters or more, with * at its end only", quote(s), leastName)
	}
	return s, nil
}

// parseProgram reads the name of an executable, with * for whatever may follow.
func parseProgram(s string) (string, error) {
	if !shaped(strings.TrimSuffix(s, "*"), "._+-", leastName) {
		return "", fmt.Errorf("%s is no name of an executable of %d letters or more, with * at its end only", quote(s), leastName)
	}
	return s, nil
}

// parseImage reads the name of a container image without tag.
func parseImage(s string) (string, error) {
	if !shaped(strings.TrimSuffix(s, "*"), "/._-", leastName) || normal(byImage, s) != s {
		return "", fmt.Errorf("%s is no image without capitals, registry docker.io, tag and digest", quote(s))
	}
	return s, nil
}

// parseOwnPath reads a directory or file, with * for whatever may follow. One
// that the file system hierarchy gives to everybody is refused.
func parseOwnPath(s string) (string, error) {
	clean, err := parsePath(strings.TrimSuffix(s, "*"))
	if err != nil {
		return "", err
	}
	shared := []string{
		"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib",
		"/usr/local/share", "/usr/share", "/var/lib", "/var/opt", "/var/www", "/etc/opt", "/srv/www",
	}
	if strings.Count(clean, "/") < 2 || slices.Contains(shared, clean) {
		return "", fmt.Errorf("%s is no product's alone", quote(clean))
	}
	return s, nil
}

// parsePage reads the address of a page.
func parsePage(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", errors.New("is no address of a page, want https://…")
	}
	return s, nil
}
