package geo

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// writeMMDB makes a database by the MaxMind DB File Format Specification 2.0:
// records of 24 bits, IPv4 addresses below ::/96. Values are strings, uint64 or
// maps of these.
func writeMMDB(kind string, built time.Time, networks map[string]map[string]any) []byte {
	var data bytes.Buffer
	root := &node{}
	for _, network := range slices.Sorted(maps.Keys(networks)) {
		prefix := netip.MustParsePrefix(network)
		bits := prefix.Bits()
		if prefix.Addr().Is4() {
			bits += 96
		}
		offset := data.Len()
		encode(&data, networks[network])
		root.insert(in96(prefix.Addr()), 0, bits, offset)
	}
	var nodes []*node
	root.number(&nodes)
	var file bytes.Buffer
	for _, n := range nodes {
		for _, side := range n.sides {
			record := len(nodes) // no data
			switch {
			case side == nil:
			case side.leaf:
				record = len(nodes) + 16 + side.offset
			default:
				record = side.id
			}
			file.Write([]byte{byte(record >> 16), byte(record >> 8), byte(record)})
		}
	}
	file.Write(make([]byte, 16))
	file.Write(data.Bytes())
	file.WriteString("\xab\xcd\xefMaxMind.com")
	encode(&file, map[string]any{
		"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0), "build_epoch": uint64(built.Unix()),
		"database_type": kind, "ip_version": uint16(6), "node_count": uint32(len(nodes)), "record_size": uint16(24),
		"description": map[string]any{}, "languages": []any{},
	})
	return file.Bytes()
}

func in96(addr netip.Addr) [16]byte {
	if !addr.Is4() {
		return addr.As16()
	}
	var wide [16]byte
	four := addr.As4()
	copy(wide[12:], four[:])
	return wide
}

type node struct {
	sides  [2]*node
	leaf   bool
	offset int
	id     int
}

func (n *node) insert(addr [16]byte, depth, bits, offset int) {
	side := addr[depth/8] >> (7 - depth%8) & 1
	if depth == bits-1 {
		n.sides[side] = &node{leaf: true, offset: offset}
		return
	}
	if n.sides[side] == nil {
		n.sides[side] = &node{}
	}
	n.sides[side].insert(addr, depth+1, bits, offset)
}

func (n *node) number(nodes *[]*node) {
	if n == nil || n.leaf {
		return
	}
	n.id = len(*nodes)
	*nodes = append(*nodes, n)
	n.sides[0].number(nodes)
	n.sides[1].number(nodes)
}

func encode(w *bytes.Buffer, value any) {
	switch v := value.(type) {
	case string:
		if len(v) < 29 {
			w.WriteByte(2<<5 | byte(len(v)))
		} else {
			w.Write([]byte{2<<5 | 29, byte(len(v) - 29)})
		}
		w.WriteString(v)
	case uint16:
		w.Write(binary.BigEndian.AppendUint16([]byte{5<<5 | 2}, v))
	case uint32:
		w.Write(binary.BigEndian.AppendUint32([]byte{6<<5 | 4}, v))
	case uint64:
		w.Write(binary.BigEndian.AppendUint64([]byte{8, 2}, v))
	case []any:
		w.Write([]byte{byte(len(v)), 4})
	case map[string]any:
		w.WriteByte(7<<5 | byte(len(v)))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			encode(w, key)
			encode(w, v[key])
		}
	}
}
