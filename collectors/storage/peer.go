package storage

import (
	"bufio"
	"bytes"
	"net/netip"
	"net/url"
	"strings"

	"cityward/collectors/internal/host"
)

// peersOf names the machines that a network file system's data is on, as the
// mount table has them: host names or addresses, never user names or secrets.
// It is empty where the table does not say, as for object storage.
func peersOf(m *host.Mount) []string {
	// The kernel's own answer: the address that it is connected to.
	if addr := m.Option("addr"); addr != "" {
		return hosts(addr)
	}
	switch strings.TrimPrefix(m.Type, "fuse.") {
	case "ceph", "ceph-fuse":
		if monitors := m.Option("mon_addr"); monitors != "" { // 10.0.0.1:6789/10.0.0.2:6789
			return hosts(strings.Split(monitors, "/")...)
		}
		if _, name, found := strings.Cut(m.Source, "@"); found && strings.Contains(name, "=") {
			return nil // USER@FSID.NAME=/PATH names no machine
		}
		monitors, _, _ := strings.Cut(m.Source, ":/") // 10.0.0.1:6789,10.0.0.2:6789:/PATH
		return hosts(strings.Split(monitors, ",")...)
	case "lustre": // 10.0.0.1@tcp,10.0.1.1@tcp:10.0.0.2@tcp:/NAME
		servers, _, _ := strings.Cut(m.Source, ":/")
		var peers []string
		for _, server := range strings.FieldsFunc(servers, func(r rune) bool { return r == ':' || r == ',' }) {
			address, _, _ := strings.Cut(server, "@")
			peers = append(peers, hosts(address)...)
		}
		return peers
	case "9p":
		if transport := m.Option("trans"); transport == "tcp" || transport == "rdma" {
			return hosts(m.Source)
		}
		return nil
	case "virtiofs", "rclone", "juicefs", "JuiceFS", "s3fs", "gcsfuse", "goofys", "blobfuse2", "restic", "borgfs":
		return nil // the source is a tag, a bucket or the name of a remote
	}
	return hosts(sourceHost(m.Source))
}

// sourceHost finds the machine in a source: HOST:/PATH, [ADDRESS]:/PATH,
// USER@HOST:PATH, //HOST/SHARE or a URL.
func sourceHost(source string) string {
	if rest, share := strings.CutPrefix(source, "//"); share {
		source = rest
	} else if _, rest, found := strings.Cut(source, "://"); found {
		source = rest
	} else if !strings.Contains(source, ":") {
		return "" // a name alone is not an address
	}
	authority, _, _ := strings.Cut(source, "/")
	return authority[strings.LastIndexByte(authority, '@')+1:]
}

// hosts strips ports and keeps what can be an address or a host name.
func hosts(raw ...string) []string {
	var peers []string
	for _, text := range raw {
		if host := hostOf(text); host != "" {
			peers = append(peers, host)
		}
	}
	return peers
}

func hostOf(text string) string {
	if rest, found := strings.CutPrefix(text, "["); found {
		text, _, _ = strings.Cut(rest, "]")
	} else if _, err := netip.ParseAddr(text); err != nil {
		text, _, _ = strings.Cut(text, ":")
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap().WithZone("").String()
	}
	if len(text) > 253 || strings.Trim(text, ".-") == "" {
		return ""
	}
	for _, r := range text {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._", r) {
			return ""
		}
	}
	return strings.ToLower(text)
}

// bare removes what may be a secret from a source: the user information and the
// query of a URL, and the user before a host.
func bare(m *host.Mount) string {
	if rest, share := strings.CutPrefix(m.Source, "//"); share {
		authority, _, _ := strings.Cut(rest, "/")
		return "//" + rest[strings.LastIndexByte(authority, '@')+1:]
	}
	if scheme, rest, found := strings.Cut(m.Source, "://"); found {
		u, err := url.Parse("x://" + rest)
		if err != nil {
			return scheme + "://"
		}
		return scheme + "://" + u.Host + u.EscapedPath()
	}
	if m.Type == "lustre" {
		return m.Source // ADDRESS@NETWORK names no user
	}
	host, rest, found := strings.Cut(m.Source, ":")
	if at := strings.LastIndexByte(host, '@'); found && at >= 0 && !strings.Contains(host, "/") {
		return host[at+1:] + ":" + rest
	}
	return m.Source
}

// parseHosts reads hosts(5): which address a name has on this machine, without
// asking anyone. The first line that has a name wins.
func parseHosts(data []byte) map[string]netip.Addr {
	names := make(map[string]netip.Addr)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(name)
			if _, known := names[name]; !known {
				names[name] = addr.Unmap()
			}
		}
	}
	return names
}
