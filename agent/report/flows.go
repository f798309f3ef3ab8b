package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"cityward/collectors/inventory"
)

// Formats in which flows are written.
const (
	Table = "table"
	JSON  = "json"
	CSV   = "csv"
)

// folded stands for the addresses of many flows in one.
const folded = "many, folded"

// ReadFlows reads the document [Flows] back, for commands that ask a daemon.
func ReadFlows(document []byte) ([]Flow, error) {
	var flows []Flow
	if err := json.Unmarshal(document, &flows); err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	return flows, nil
}

// FlowWriter writes flows in one format, a line each.
type FlowWriter struct {
	w      io.Writer
	format string
	style  Style
}

// NewFlowWriter begins with the heading that the format has.
func NewFlowWriter(w io.Writer, format string, style Style) (*FlowWriter, error) {
	f := &FlowWriter{w, format, style}
	switch format {
	case Table:
		return f, f.line(style.paint("1", columns("TIME", "DIR", "ZONE", "PROTO", "PROGRAM", "PEER", "SENT", "RECEIVED", "OPEN")))
	case CSV:
		return f, f.record("first", "last", "direction", "protocol", "zone", "executable", "pid", "user", "unit", "container", "package",
			"local_address", "local_port", "remote_address", "remote_port", "country", "operator",
			"sent_bytes", "received_bytes", "connections", "open_connections")
	}
	return f, nil
}

// All writes flows as they stand. As JSON they are one document.
func (w *FlowWriter) All(flows []Flow) error {
	if w.format == JSON {
		data, err := marshal(flows)
		if err != nil {
			return err
		}
		return w.line(strings.TrimSuffix(string(data), "\n"))
	}
	for i := range flows {
		f := &flows[i]
		if err := w.one(f, f.Last, bytes(f.Sent), bytes(f.Received)); err != nil {
			return err
		}
	}
	return nil
}

// Changes writes what changed until a time. A table shows what moved, all else the
// totals, of which a program can tell itself.
func (w *FlowWriter) Changes(changes []Change, at time.Time) error {
	for i := range changes {
		c := &changes[i]
		if err := w.one(&c.Flow, at, "+"+bytes(c.moved.Sent), "+"+bytes(c.moved.Received)); err != nil {
			return err
		}
	}
	return nil
}

func (w *FlowWriter) one(f *Flow, at time.Time, sent, received string) error {
	switch w.format {
	case JSON:
		data, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("write flow: %w", err)
		}
		return w.line(string(data))
	case CSV:
		return w.csv(f)
	}
	line := columns(w.style.time(at), f.Direction, f.Zone, f.Protocol, shorten(f.program(), 40), f.peer(), sent, received, strconv.Itoa(f.Open))
	if f.Zone == inventory.Outside.String() {
		line = w.style.paint("31", line)
	}
	return w.line(line)
}

// columns have fixed widths, since what comes later is not known. A longer cell
// moves the rest of its line only.
func columns(time, dir, zone, proto, program, peer, sent, received, open string) string {
	return fmt.Sprintf("%-20s  %-3s  %-8s  %-5s  %-40s  %-44s  %10s  %10s  %4s", time, dir, zone, proto, program, peer, sent, received, open)
}

func (w *FlowWriter) line(text string) error {
	_, err := io.WriteString(w.w, text+"\n")
	return err
}

func (w *FlowWriter) record(cells ...string) error {
	out := csv.NewWriter(w.w)
	if err := out.Write(cells); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

func (w *FlowWriter) csv(f *Flow) error {
	p, remote := f.Program, f.Remote
	if p == nil {
		p = &jsonProcess{}
	}
	if remote == nil {
		remote = &jsonRemote{}
	}
	localAddress, localPort := f.Local.cells()
	remoteAddress, remotePort := "", ""
	if f.Remote != nil {
		remoteAddress, remotePort = remote.cells()
	}
	pid := ""
	if p.PID != nil {
		pid = strconv.Itoa(*p.PID)
	}
	return w.record(f.First.Format(time.RFC3339Nano), f.Last.Format(time.RFC3339Nano), f.Direction, f.Protocol, f.Zone,
		text(p.Executable), pid, text(p.User), text(p.Unit), text(p.Container), text(p.Package),
		localAddress, localPort, remoteAddress, remotePort, text(remote.Country), text(remote.Operator),
		strconv.FormatUint(f.Sent, 10), strconv.FormatUint(f.Received, 10), strconv.FormatUint(f.Connections, 10), strconv.Itoa(f.Open))
}

func (e *jsonEndpoint) cells() (address, port string) {
	if e == nil {
		return "", ""
	}
	return e.Address, strconv.Itoa(int(e.Port))
}

// text gives "" for an absent fact.
func text(known *string) string {
	if known == nil {
		return ""
	}
	return *known
}

func (f *Flow) program() string {
	switch {
	case f.Program == nil:
		return "unknown"
	case f.Program.Executable != nil:
		return *f.Program.Executable
	case f.Program.PID != nil:
		return fmt.Sprintf("pid %d", *f.Program.PID)
	case f.Program.Unit != nil:
		return *f.Program.Unit
	}
	return text(f.Program.Container)
}

func (f *Flow) peer() string {
	name, port := folded, uint16(0)
	switch {
	case f.Remote != nil && f.Direction == inventory.In:
		name = f.Remote.Address
	case f.Remote != nil:
		name = net.JoinHostPort(f.Remote.Address, strconv.Itoa(int(f.Remote.Port)))
	}
	if f.Local != nil {
		port = f.Local.Port
	}
	return farEnd(f.Direction, name, port)
}

// farEnd names it; of an incoming connection with the port that it came to.
func farEnd(direction, name string, port uint16) string {
	if direction == inventory.In {
		return fmt.Sprintf("%s to port %d", name, port)
	}
	return name
}
