package configs

import "slices"

// Custody is how far a holding of data reaches, and from where on it alerts.
type Custody struct {
	// AlertBytes is, for each way of coming to hold data, how many bytes a holder may
	// not send beyond the city: 1 the first one; 0 it is shown and never fails.
	AlertBytes    map[string]uint64
	HolderMaximum float64  // share of the programs that run that may hold data, 0 to 1
	Relays        []string // executables that every program tells something: nothing goes on through them
	Ignore        []CustodyIgnore
}

// CustodyIgnore is a program that is not made a holder, in the name of whoever
// approves the policy.
type CustodyIgnore struct {
	Program string   // executable
	How     []string // ways that do not count for it; empty all
	Stores  []string // empty all
	Reason  string
}

// ways are those of package inventory, which this one may not know.
func ways() []string { return []string{"direct", "service", "descendant", "pipeline", "derived"} }

func (c *Custody) read(t *table, stores []DataStore) {
	bytes := t.section("alert_bytes")
	merged := make(map[string]uint64) // the one before may be shared
	for _, how := range ways() {
		n := int(c.AlertBytes[how])
		set(bytes, how, &n, count(0, 1<<40))
		merged[how] = uint64(n)
	}
	c.AlertBytes = merged
	bytes.close()
	set(t, "holder_maximum", &c.HolderMaximum, share)
	set(t, "relays", &c.Relays, listOf(parsed(parsePath)))
	for _, row := range t.rows("ignore") {
		var i CustodyIgnore
		need(row, "program", &i.Program, parsed(parsePath))
		set(row, "how", &i.How, listOf(parsed(oneOf(ways()...))))
		set(row, "stores", &i.Stores, listOf(declared(stores)))
		need(row, "reason", &i.Reason, parsed(parseWords))
		row.close()
		c.Ignore = append(c.Ignore, i)
	}
	t.close()
}

// Alerts reports whether it fails that so many bytes went beyond the city. What the
// policy says nothing of fails from the first byte on.
func (c *Custody) Alerts(how string, sent uint64) bool {
	least, said := c.AlertBytes[how]
	return !said && sent > 0 || said && least > 0 && sent >= least
}

// Ignores reports whether a program is not made a holder of a store in this way.
func (c *Custody) Ignores(program, how, store string) bool {
	if program == "" {
		return false
	}
	if how == "pipeline" && slices.Contains(c.Relays, program) {
		return true
	}
	return slices.ContainsFunc(c.Ignore, func(i CustodyIgnore) bool {
		return i.Program == program && (len(i.How) == 0 || slices.Contains(i.How, how)) &&
			(len(i.Stores) == 0 || slices.Contains(i.Stores, store))
	})
}
