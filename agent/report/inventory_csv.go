package report

import (
	"encoding/csv"
	"io"
	"strconv"

	"cityward/agent"
)

// InventoryCSV writes a record for each component. What could not be seen has no
// place in records: the other formats tell it.
func InventoryCSV(w io.Writer, r *agent.Report, running bool) error {
	d := documenter{Report: r, Snapshot: r.Snapshot}
	out := csv.NewWriter(w)
	_ = out.Write([]string{"ecosystem", "name", "version", "purl", "supplier", "area", "licence_declared", "licence_expression", "licence_source", "freedom", "running"})
	for _, c := range d.inventory(running).Components {
		_ = out.Write([]string{
			plain(&c.Ecosystem), plain(&c.Name), plain(&c.Version), c.PURL, plain(c.Supplier), plain(c.Area),
			plain(c.Licence.Declared), plain(c.Licence.Expression), plain(c.Licence.Source), c.Licence.Freedom, strconv.FormatBool(c.Running),
		})
	}
	out.Flush()
	return out.Error() // of any Write
}
