package report

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"cityward/collectors/inventory"
)

// ReadCustody reads the document [Custody] back, for commands that ask a daemon.
func ReadCustody(document []byte) ([]Holding, error) {
	var holdings []Holding
	if err := json.Unmarshal(document, &holdings); err != nil {
		return nil, fmt.Errorf("read custody: %w", err)
	}
	return holdings, nil
}

// WriteCustody writes holdings in one format.
func WriteCustody(w io.Writer, holdings []Holding, format string, style Style) error {
	switch format {
	case JSON:
		data, err := marshal(holdings)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	case CSV:
		return custodyCSV(w, holdings)
	}
	return custodyTable(w, holdings, style)
}

// custodyTable gives a line to each holder, and below it one to each destination
// that is not this machine.
func custodyTable(w io.Writer, holdings []Holding, style Style) error {
	if len(holdings) == 0 {
		_, err := io.WriteString(w, "nobody holds declared data\n")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "STORE\tPROGRAM\tHOW\tSINCE\tFROM\tEVIDENCE")
	for i := range holdings {
		h := &holdings[i]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Store, nameOf(h.Program), h.How, h.time(style), nameOf(h.From), shorten(plain(h.Evidence), 60))
		for j := range h.Destinations {
			d := &h.Destinations[j]
			if d.Zone == inventory.Host.String() {
				continue
			}
			note := ""
			if d.Transfer != nil {
				note = ", under " + *d.Transfer
			}
			fmt.Fprintf(tw, "\t→ %s (%s%s)\t%s\t%s\t\t\n", d.address(), d.Zone, note, bytes(d.Sent), style.time(d.Last))
		}
	}
	return tw.Flush()
}

func custodyCSV(w io.Writer, holdings []Holding) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{
		"store", "executable", "pid", "user", "unit", "container", "package", "how", "since", "from", "evidence",
		"address", "port", "zone", "transfer", "sent_bytes", "first", "last", "until",
	})
	for i := range holdings {
		h := &holdings[i]
		p := h.Program
		if p == nil {
			p = &jsonProcess{}
		}
		pid := ""
		if p.PID != nil {
			pid = strconv.Itoa(*p.PID)
		}
		row := []string{
			h.Store, plain(p.Executable), pid, plain(p.User), plain(p.Unit), plain(p.Container), plain(p.Package), h.How,
			h.Since.UTC().Format(time.RFC3339), nameOf(h.From), plain(h.Evidence),
		}
		until := ""
		if h.Until != nil {
			until = h.Until.UTC().Format(time.RFC3339)
		}
		if len(h.Destinations) == 0 {
			_ = out.Write(append(row, "", "", "", "", "", "", "", until))
		}
		for j := range h.Destinations {
			d := &h.Destinations[j]
			port := ""
			if d.Port != nil {
				port = strconv.Itoa(int(*d.Port))
			}
			_ = out.Write(append(slices.Clip(row), plain(d.Address), port, d.Zone, plain(d.Transfer), strconv.FormatUint(d.Sent, 10),
				d.First.UTC().Format(time.RFC3339), d.Last.UTC().Format(time.RFC3339), until))
		}
	}
	out.Flush()
	return out.Error() // of any Write
}

// time is since when, and until when where it has ended.
func (h *Holding) time(style Style) string {
	if h.Until == nil {
		return style.time(h.Since)
	}
	return style.time(h.Since) + " to " + style.time(*h.Until)
}

func (d *jsonDestination) address() string {
	if d.Address == nil || d.Port == nil {
		return folded
	}
	if *d.Port == 0 {
		return *d.Address
	}
	return net.JoinHostPort(*d.Address, strconv.Itoa(int(*d.Port)))
}

// nameOf names a program for people; "none" where there is none.
func nameOf(p *jsonProcess) string {
	if p == nil {
		return "none"
	}
	name := cmp.Or(plain(p.Executable), plain(p.Unit), "unknown program")
	if p.PID != nil {
		name = fmt.Sprintf("%s (%d)", name, *p.PID)
	}
	return name
}

func plain(text *string) string {
	if text == nil {
		return ""
	}
	return strings.ToValidUTF8(*text, "\uFFFD")
}
