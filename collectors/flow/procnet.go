package flow

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
)

// readProc reads the network namespace of a process through /proc/PID/net, for
// agents that may not enter it. There are no byte counts, no cookies and no
// peers of Unix sockets.
func readProc(h *host.Host, dir string) (view, error) {
	v := view{fromProc: true, addresses: make(map[netip.Addr]bool)}
	each := func(name string, optional bool, parse func(io.Reader) error) error {
		f, err := h.Open(dir + "/" + name)
		if optional && host.Gone(err) { // no IPv6, no Unix sockets in this kernel
			return nil
		}
		if err != nil {
			return err
		}
		err = parse(f)
		return errors.Join(err, f.Close())
	}
	for _, table := range []struct {
		name     string
		protocol uint8
	}{{"tcp", unix.IPPROTO_TCP}, {"tcp6", unix.IPPROTO_TCP}, {"udp", unix.IPPROTO_UDP}, {"udp6", unix.IPPROTO_UDP}} {
		err := each(table.name, strings.HasSuffix(table.name, "6"), func(r io.Reader) error {
			found, err := parseTable(r, table.protocol)
			v.sockets = append(v.sockets, found...)
			return err
		})
		if err != nil {
			return view{}, err
		}
	}
	err := each("unix", true, func(r io.Reader) (err error) {
		v.locals, err = parseUnixTable(r)
		return err
	})
	err = errors.Join(err, each("fib_trie", true, func(r io.Reader) error { return parseTrie(r, v.addresses) }))
	err = errors.Join(err, each("if_inet6", true, func(r io.Reader) error { return parseInterfaces6(r, v.addresses) }))
	return v, err
}

// lines gives each line but the head to parse. A line that does not parse is an
// error: what was skipped would not be known.
func lines(r io.Reader, parse func(fields []string, line string) error) error {
	scanner := bufio.NewScanner(r)
	for number := 1; scanner.Scan(); number++ {
		if number == 1 {
			continue
		}
		if err := parse(strings.Fields(scanner.Text()), scanner.Text()); err != nil {
			return fmt.Errorf("parse line %d: %w", number, err)
		}
	}
	return scanner.Err()
}

// parseTable reads /proc/net/tcp, tcp6, udp or udp6, see proc(5).
func parseTable(r io.Reader, protocol uint8) ([]socket, error) {
	var all []socket
	err := lines(r, func(fields []string, _ string) error {
		if len(fields) < 10 {
			return errors.New("too few fields")
		}
		local, err := parseEndpoint(fields[1])
		if err != nil {
			return err
		}
		remote, err := parseEndpoint(fields[2])
		if err != nil {
			return err
		}
		state, err := strconv.ParseUint(fields[3], 16, 8)
		if err != nil {
			return fmt.Errorf("state: %w", err)
		}
		inode, err := strconv.ParseUint(fields[9], 10, 64)
		if err != nil {
			return fmt.Errorf("inode: %w", err)
		}
		all = append(all, socket{protocol: protocol, state: uint8(state), local: local, remote: remote, inode: inode})
		return nil
	})
	return all, err
}

// parseEndpoint reads ADDRESS:PORT in hexadecimal. The address stands in words
// of 32 bits in the machine's byte order, the port is a number.
func parseEndpoint(text string) (netip.AddrPort, error) {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("address %q", text)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port of %q: %w", text, err)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}

// parseUnixTable reads /proc/net/unix: Num RefCount Protocol Flags Type St Inode
// Path. A path may hold newlines, so a line that does not parse is the rest of a
// name.
func parseUnixTable(r io.Reader) ([]localSocket, error) {
	const accepting = 1 << 16 // __SO_ACCEPTCON
	var all []localSocket
	err := lines(r, func(fields []string, line string) error {
		if len(fields) < 7 {
			return nil
		}
		flags, err1 := strconv.ParseUint(fields[3], 16, 32)
		kind, err2 := strconv.ParseUint(fields[4], 16, 8)
		state, err3 := strconv.ParseUint(fields[5], 16, 8)
		inode, err4 := strconv.ParseUint(fields[6], 10, 64)
		if errors.Join(err1, err2, err3, err4) != nil {
			return nil
		}
		s := localSocket{kind: uint8(kind), inode: inode, state: stateClose}
		switch {
		case flags&accepting != 0:
			s.state = stateListen
		case state == 3: // SS_CONNECTED of linux/net.h
			s.state = stateEstablished
		}
		if len(fields) > 7 {
			_, after, _ := strings.Cut(line, " "+fields[6]+" ")
			s.name = host.Text(after, nameLimit)
		}
		all = append(all, s)
		return nil
	})
	return all, err
}

// parseTrie reads the machine's own addresses from /proc/net/fib_trie: an
// address, and below it "/32 host LOCAL".
func parseTrie(r io.Reader, own map[netip.Addr]bool) error {
	var last netip.Addr
	return lines(r, func(fields []string, _ string) error {
		switch {
		case len(fields) == 2 && fields[0] == "|--":
			last, _ = netip.ParseAddr(fields[1])
		case len(fields) == 3 && fields[0] == "/32" && fields[1] == "host" && fields[2] == "LOCAL" && last.IsValid():
			own[last] = true
		}
		return nil
	})
}

// parseInterfaces6 reads /proc/net/if_inet6, whose lines begin with an address
// in 32 hexadecimal digits. It has no head line.
func parseInterfaces6(r io.Reader, own map[netip.Addr]bool) error {
	return lines(io.MultiReader(strings.NewReader("\n"), r), func(fields []string, _ string) error {
		if len(fields) == 0 {
			return nil
		}
		raw, err := hex.DecodeString(fields[0])
		if err != nil || len(raw) != 16 {
			return fmt.Errorf("address %q", fields[0])
		}
		own[netip.AddrFrom16([16]byte(raw)).Unmap()] = true
		return nil
	})
}
