package sbom

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cityward/agent"
	"cityward/collectors/inventory"
)

// hostRef is the machine's name inside a bill.
const hostRef = "host"

// unnamed stands where a format demands a name and there is none.
const unnamed = "unknown"

// mostNotes bounds the notes of a bill; one more counts those beyond.
const mostNotes = 4096

// builder makes a bill from a round.
type builder struct {
	texts
	*agent.Report
	*inventory.Snapshot
	options Options
	bill    *bill
	at      map[string]int // places in bill.Components, by package URL
	strays  map[stray]int  // likewise of programs that belong to no component
	wholes  map[string]int // likewise by the file that is the component
	hand    map[string]inventory.FileID
	said    map[string]bool // notes
	unsaid  int
}

// stray tells programs without a component apart.
type stray struct{ executable, name, container string }

func strayOf(p *inventory.Program) stray {
	if p.Executable != "" {
		return stray{p.Executable, "", p.Container}
	}
	return stray{"", p.Name, p.Container}
}

func newBill(r *agent.Report, o Options) *bill {
	b := &builder{
		texts: newTexts(), Report: r, Snapshot: r.Snapshot, options: o,
		at: make(map[string]int), strays: make(map[stray]int), wholes: make(map[string]int), hand: atHand(r.Snapshot),
		said: make(map[string]bool),
	}
	b.refs[hostRef] = true
	b.bill = &bill{Taken: r.Snapshot.Taken, Tool: cmp.Or(b.within(longestVersion, o.Version), unnamed), Running: o.Running}
	b.creator()
	b.machine()
	b.components()
	b.programs()
	b.depends()
	b.sight()
	b.stores()
	b.services()
	if o.Running {
		b.onlyRunning() // from here on the places in the maps do not hold
	}
	b.files()
	b.gaps()
	return b.bill
}

// note says something once, however often it is so.
func (b *builder) note(format string, args ...any) {
	text := b.clean(fmt.Sprintf(format, args...))
	switch {
	case b.said[text]:
	case len(b.bill.Notes) == mostNotes:
		b.unsaid++
	default:
		b.said[text] = true
		b.bill.Notes = append(b.bill.Notes, text)
	}
}

// creator is the city, by its home page: BSI TR-03183-2 wants an address that
// can be reached, section 5.2.1.
func (b *builder) creator() {
	if b.Policy != nil {
		city := b.Policy.City
		b.bill.Creator.Name = b.clean(city.Name)
		if len(city.Domains) > 0 {
			if page := "https://" + city.Domains[0]; isURL(page) {
				b.bill.Creator.URL = page
			}
		}
	}
	if b.bill.Creator.URL == "" {
		b.note("the creator of this bill has no address: the configuration names no domain of the city")
	}
}

func (b *builder) machine() {
	m := b.Machine
	if m == nil {
		m = &inventory.Machine{}
	}
	b.bill.Host = machine{
		Name: cmp.Or(b.clean(m.Hostname), unnamed), OS: b.clean(m.OS), OSName: b.clean(m.OSName), OSVersion: b.within(longestVersion, m.OSVersion),
		Kernel: b.clean(m.Kernel), Arch: b.clean(m.Arch), Virtualization: b.clean(m.Virtualization), Platform: b.clean(m.Platform),
	}
}

func (b *builder) components() {
	for i := range b.Components {
		c := &b.Components[i]
		purl := b.purl(c.PURL)
		doc := component{
			Ref: b.ref(cmp.Or(purl, "component:"+c.Ecosystem+"/"+c.Name)), Kind: kind(c), Ecosystem: b.clean(c.Ecosystem),
			Name: cmp.Or(b.clean(c.Name), unnamed), Version: b.within(longestVersion, c.Version), Arch: b.clean(c.Arch), Source: b.clean(c.Source),
			Area: b.clean(c.Area), Origin: b.clean(c.Origin), PURL: purl, Supplier: b.partyOf(c.Supplier), Declared: b.clean(c.Licence.Declared),
			Expression: b.clean(c.Licence.Expression), Terms: b.clean(c.Licence.Source), Freedom: c.Licence.Freedom.String(),
		}
		if _, ok := validExpression(doc.Expression); !ok && doc.Expression != "" {
			doc.Declared = cmp.Or(doc.Declared, doc.Expression) // said, but no expression
			doc.Expression = ""
		}
		if _, known := b.at[c.PURL]; !known {
			b.at[c.PURL] = len(b.bill.Components)
		}
		for _, path := range c.Files {
			b.wholes[path] = len(b.bill.Components)
			doc.Places = append(doc.Places, path)
		}
		b.bill.Components = append(b.bill.Components, doc)
	}
}

// kind is one of CycloneDX's types of component.
func kind(c *inventory.Component) string {
	switch c.Ecosystem {
	case "dpkg", "rpm", "apk":
		if c.Area == "non-free-firmware" {
			return "firmware"
		}
		return "application"
	}
	return "library"
}

// programs tells each component what runs of it. A program that belongs to none
// becomes one.
func (b *builder) programs() {
	for _, p := range b.Programs() {
		i, owned := b.owner(&p)
		if !owned {
			i = b.stray(&p)
		}
		c := &b.bill.Components[i]
		c.Running = true
		c.Programs = append(c.Programs, b.describe(&p))
		if p.Executable != "" && p.Container == "" {
			c.Places = append(c.Places, p.Executable)
		}
	}
}

// owner gives the place of the component that a program belongs to.
func (b *builder) owner(p *inventory.Program) (int, bool) {
	if i, ok := b.at[p.Component.PURL]; ok && p.Component.PURL != "" {
		return i, true
	}
	if p.Container == "" {
		if i, ok := b.wholes[p.Executable]; ok {
			return i, true
		}
	}
	i, ok := b.strays[strayOf(p)]
	return i, ok
}

// stray lists a program that belongs to no component.
func (b *builder) stray(p *inventory.Program) int {
	shown := cmp.Or(p.Executable, p.Name, unnamed)
	b.strays[strayOf(p)] = len(b.bill.Components)
	b.bill.Components = append(b.bill.Components, component{
		Ref: b.ref("program:" + p.Container + shown), Kind: "application", Name: cmp.Or(b.clean(path.Base(shown)), unnamed),
		Freedom: inventory.FreedomUnknown.String(),
	})
	return len(b.bill.Components) - 1
}

// describe puts a program into one line. Process ids say nothing to who reads it
// elsewhere; their number does.
func (b *builder) describe(p *inventory.Program) string {
	line := fmt.Sprintf("executable=%s; user=%s; processes=%d", cmp.Or(p.Executable, p.Name), p.User, len(p.PIDs))
	if p.Unit != "" {
		line += "; unit=" + p.Unit
	}
	if p.Container != "" {
		line += "; container=" + p.Container
	}
	if len(p.Listening) > 0 {
		line += "; listening=" + strings.Join(p.Listening, " ")
	}
	return b.clean(line)
}

// depends turns package URLs into refs.
func (b *builder) depends() {
	for i := range b.Components {
		c, doc := &b.Components[i], &b.bill.Components[i]
		doc.Stated = c.Depends != nil
		for _, purl := range c.Depends {
			if j, ok := b.at[purl]; ok && j != i {
				doc.Depends = append(doc.Depends, b.bill.Components[j].Ref)
			}
		}
		slices.Sort(doc.Depends)
		doc.Depends = slices.Compact(doc.Depends)
	}
}

func (b *builder) onlyRunning() {
	all := b.bill.Components
	b.bill.Components = slices.DeleteFunc(slices.Clone(all), func(c component) bool { return !c.Running })
	here := make(map[string]bool)
	for i := range b.bill.Components {
		here[b.bill.Components[i].Ref] = true
	}
	for i := range b.bill.Components {
		c := &b.bill.Components[i]
		c.Depends = slices.DeleteFunc(slices.Clone(c.Depends), func(ref string) bool { return !here[ref] })
	}
	b.note("only what runs is listed: %d of %d components", len(b.bill.Components), len(all))
}

// files lists the files at hand of each component: what runs, and what is
// delivered as one file.
func (b *builder) files() {
	unread := make(map[string]int) // by the reason
	for i := range b.bill.Components {
		c := &b.bill.Components[i]
		slices.Sort(c.Places)
		c.Places = slices.Compact(c.Places)
		for j, place := range c.Places {
			_, whole := b.wholes[place]
			c.Places[j] = b.clean(place)
			if _, ok := b.hand[place]; !ok {
				unread["not a file at hand: run from memory, or in another tree"]++
				continue
			}
			f := file{
				Path: c.Places[j], Name: cmp.Or(b.clean(path.Base(place)), unnamed), Executable: true,
				Whole: c.Ecosystem == "" || whole, Archive: archive(place),
			}
			f.Ref = b.ref("file:" + place)
			d, ok := b.options.Digests.of(place)
			switch {
			case ok && d.Reason == "":
				f.SHA512, f.Modified = d.SHA512, d.Modified.UTC().Format("2006-01-02T15:04:05Z")
			case ok:
				unread[d.Reason]++
			default:
				unread["not asked for"]++
			}
			c.Files = append(c.Files, f)
			if f.Whole && c.Version == "" {
				c.Version = f.Modified // BSI TR-03183-2, section 5.2.2: where none is assigned
			}
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(unread)) {
		b.note("no hash of files: %s (%d)", reason, unread[reason])
	}
}

// archive reports whether a file has the name of one of Java's archives.
func archive(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jar", ".war", ".ear", ".rar", ".hpi", ".jpi", ".nar", ".zip":
		return true
	}
	return false
}

// sight says which evidence is known to be incomplete.
func (b *builder) sight() {
	for _, g := range b.Gaps {
		switch g.Kind {
		case inventory.KindComponents, inventory.KindProcesses:
			b.bill.Incomplete = true
		case inventory.KindFlows, inventory.KindListeners, inventory.KindHoldings:
			b.bill.Blind = true
		}
	}
	for _, c := range b.Captures {
		b.bill.Blind = b.bill.Blind || c.Name == inventory.CaptureFlows && !c.Complete
	}
}

// gaps says what was not seen.
func (b *builder) gaps() {
	b.unknowns()
	for _, g := range b.Gaps {
		line := "not seen, " + g.Kind + ": " + strings.Join(strings.Fields(g.Subject+" "+g.Reason), " ")
		if g.Lost > 0 {
			line += fmt.Sprintf(" (%d)", g.Lost)
		}
		if g.Store != "" {
			line += ", data store " + g.Store
		}
		b.note("%s", line)
	}
	for _, c := range b.Captures {
		if !c.Complete {
			b.note("%s are watched by %s and may pass unseen: %s", c.Name, c.Tier, c.Reason)
		}
	}
	if b.cut > 0 {
		b.note("%d texts were longer than %d bytes and cut", b.cut, longestText)
	}
	if b.unsaid > 0 {
		b.bill.Notes = append(b.bill.Notes, fmt.Sprintf("%d more notes found no room", b.unsaid))
	}
}

// unknowns counts what is not known of the components.
func (b *builder) unknowns() {
	all, counts := len(b.bill.Components), [4]int{}
	for i := range b.bill.Components {
		c := &b.bill.Components[i]
		for j, lacking := range []bool{c.Expression == "", !c.Stated, c.Supplier.Name == "", c.Supplier.Name != "" && c.Supplier.Email == "" && c.Supplier.URL == ""} {
			if lacking {
				counts[j]++
			}
		}
	}
	for j, what := range []string{
		"no licence could be concluded for", "nobody says what they depend on of",
		"the supplier is not known of", "the supplier has no address that can be reached of",
	} {
		if counts[j] > 0 {
			b.note("%s %d of %d components", what, counts[j], all)
		}
	}
}
