package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"cityward/configs"
)

// maxEntries bounds a draft that a person has to read.
const maxEntries = 200

// draft writes what was learnt. It is TOML as it is, but no policy before a person
// has filled it in.
func (l *lesson) draft(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Draft of %s, from connections recorded since %s.
# Nothing here is approved: each [[transfer]] lacks what only a person knows, and
# cityward config check refuses it until that is filled in or the entry is removed.
# Move what you keep into the policy, and try it first: cityward policy test FILE
`, stamp(l.at), stamp(l.since))
	if l.covered > 0 {
		fmt.Fprintf(&b, "# %d connections are under transfers in force and are not repeated.\n", l.covered)
	}
	l.draftCity(&b)
	routes := l.routes()
	ids := make(map[string]bool)
	for i, key := range routes {
		if i == maxEntries {
			fmt.Fprintf(&b, "\n# %d more, which sent less, are left out: cityward flows --since has them.\n", len(routes)-i)
			break
		}
		l.draftTransfer(&b, &key, ids)
	}
	if len(routes) == 0 {
		b.WriteString("\n# No connection beyond the city was recorded that needs a transfer.\n")
	}
	if t := &l.nameless; !t.first.IsZero() {
		fmt.Fprintf(&b, "\n# Not drafted, since no program of it can be named, and a transfer without one approves all:\n#   %s\n", t.summary())
		for _, network := range t.networks {
			fmt.Fprintf(&b, "#   %s\n", network)
		}
	}
	if t := &l.folded; !t.first.IsZero() {
		fmt.Fprintf(&b, "\n# Not drafted, since the addresses found no room:\n#   %s\n", t.summary())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// draftCity proposes networks: they are the city's only once a person says so.
func (l *lesson) draftCity(b *strings.Builder) {
	if len(l.city) == 0 {
		return
	}
	b.WriteString("\n# Private networks that programs of this machine spoke with and that the policy does\n# not know. Uncomment those that are the city's, beside those that [city] has already.\n[city]\n# networks = [\n")
	networks := make([]netip.Prefix, 0, len(l.city))
	for network := range l.city {
		networks = append(networks, network)
	}
	slices.SortFunc(networks, netip.Prefix.Compare)
	for _, network := range networks {
		fmt.Fprintf(b, "#   %q,  # %s\n", network, l.city[network].summary())
	}
	b.WriteString("# ]\n")
}

func (l *lesson) draftTransfer(b *strings.Builder, key *route, ids map[string]bool) {
	t := l.routed[*key]
	fmt.Fprintf(b, "\n# %s\n", t.summary())
	for _, line := range t.whose() {
		fmt.Fprintf(b, "# %s\n", line)
	}
	if t.more > 0 {
		fmt.Fprintf(b, "# %d more records are of further networks: a service for the public has clients everywhere\n", t.more)
	}
	fmt.Fprintf(b, "[[transfer]]\nid = %q\ndirection = %q\nnetworks = [%s]\n", key.id(ids), key.direction, quoted(t.networks))
	if key.port != 0 {
		fmt.Fprintf(b, "ports = [%d]\n", key.port)
	}
	fmt.Fprintf(b, "programs = [%q]\n", key.program)
	switch {
	case key.country != "":
		fmt.Fprintf(b, "country = %q  # of the addresses, by the geo database: is it the recipient's?\n", key.country)
	case key.direction == configs.Out:
		b.WriteString("# country = \"\"  # the recipient's\n")
	}
	if len(t.stores) > 0 {
		fmt.Fprintf(b, "# stores = [%s]  # whose data the program held: only if it may go there\n", quoted(t.stores))
	}
	b.WriteString("# purpose = \"\"\n# legal_basis = \"\"\n# owner = \"\"\n# approved_by = \"\"  # somebody else than the owner\n# expires = YYYY-MM-DD  # within 12 months\n")
}

func quoted[T any](list []T) string {
	words := make([]string, 0, len(list))
	for _, item := range list {
		words = append(words, fmt.Sprintf("%q", fmt.Sprint(item)))
	}
	return strings.Join(words, ", ")
}

// summary is on one line.
func (t *passage) summary() string {
	return fmt.Sprintf("first %s, last %s, %s: %d connections, %d bytes sent, %d received",
		stamp(t.first), stamp(t.last), shown(strings.Join(t.protocols, " and ")), t.connections, t.sent, t.received)
}

// whose tells what helps to find out whom to ask.
func (t *passage) whose() []string {
	var lines []string
	for _, known := range []struct {
		what  string
		names []string
	}{{"run by", t.users}, {"unit", t.units}, {"operator of the addresses:", t.operators}, {"held data of", t.stores}} {
		if len(known.names) > 0 {
			lines = append(lines, shown(known.what+" "+strings.Join(known.names, ", ")))
		}
	}
	return lines
}

// id is one that no other entry has.
func (r *route) id(taken map[string]bool) string {
	network := cmp.Or(r.direction, "in")
	if r.network.IsValid() {
		network = r.network.String()
	}
	text := fmt.Sprintf("%.24s-%s-%d", path.Base(r.program), network, r.port)
	slug := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(text), "-"), "-")
	if len(slug) > 58 {
		slug = slug[:58]
	}
	id := slug
	for n := 2; taken[id]; n++ {
		id = fmt.Sprintf("%s-%d", slug, n)
	}
	taken[id] = true
	return id
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
