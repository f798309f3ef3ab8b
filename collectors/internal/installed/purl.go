package installed

import "strings"

// PURL gives a package URL: pkg:KIND/NAMESPACE/NAME@VERSION?QUALIFIERS. The
// namespace may have several segments, parted by slashes. Qualifiers come in
// pairs, by name; those without a value are left out.
func PURL(kind, namespace, name, version string, qualifiers ...string) string {
	var b strings.Builder
	b.WriteString("pkg:" + kind + "/")
	for segment := range strings.SplitSeq(namespace, "/") {
		if segment != "" {
			encode(&b, segment)
			b.WriteByte('/')
		}
	}
	encode(&b, name)
	if version != "" {
		b.WriteByte('@')
		encode(&b, version)
	}
	mark := byte('?')
	for ; len(qualifiers) >= 2; qualifiers = qualifiers[2:] {
		if qualifiers[1] != "" {
			b.WriteByte(mark)
			b.WriteString(qualifiers[0] + "=")
			encode(&b, qualifiers[1])
			mark = '&'
		}
	}
	return b.String()
}

// encode percent-encodes what the specification does not let stand.
func encode(b *strings.Builder, text string) {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		switch {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', strings.IndexByte(".-_~:", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}
