package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of texts, in bytes. What is longer is cut, and a note counts it.
const (
	longestText    = 4096
	longestVersion = 1024 // by the schema of CycloneDX
)

// texts cleans what others wrote and counts what had to be cut.
type texts struct {
	cut   int
	refs  map[string]bool
	email *regexp.Regexp
}

// newTexts accepts addresses of the usual form, which every reader accepts.
func newTexts() texts {
	return texts{
		refs:  make(map[string]bool),
		email: regexp.MustCompile(`^[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$`),
	}
}

// clean gives valid UTF-8 without control characters, on one line.
func (t *texts) clean(text string) string { return t.within(longestText, text) }

func (t *texts) within(most int, text string) string {
	if plainText(most, text) {
		return text
	}
	if len(text) > most {
		t.cut++
		end := most
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r): // the latter make text lie
			return '\uFFFD'
		}
		return r
	}, text)
}

func plainText(most int, text string) bool {
	if len(text) > most {
		return false
	}
	for i := range len(text) {
		if text[i] < 0x20 || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// purl percent-encodes what no package URL holds.
func (t *texts) purl(text string) string {
	if len(text) > longestText {
		t.cut++
		return "" // a part of one names something else
	}
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c > 0x20 && c < 0x7f && !strings.ContainsRune(`"<>\^{|}`+"`", rune(c)) {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

// ref makes a name for something that no other has.
func (t *texts) ref(text string) string {
	text = t.clean(text)
	unique := text
	for n := 2; t.refs[unique]; n++ {
		unique = text + "#" + strconv.Itoa(n)
	}
	t.refs[unique] = true
	return unique
}

// fingerprint is short and stands in names that allow letters and digits only.
func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// slug keeps of a text what SPDX allows in a name.
func slug(text string, most int) string {
	var b strings.Builder
	for i := 0; i < len(text) && b.Len() < most; i++ {
		c := text[i]
		switch {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '.':
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-.")
}

// partyOf reads Name <address>, an address alone, or a name.
func (t *texts) partyOf(text string) party {
	text = strings.TrimSpace(t.clean(text))
	name, rest, found := strings.Cut(text, "<")
	address, _, closed := strings.Cut(rest, ">")
	switch {
	case found && closed && t.isEmail(address):
		name = strings.Trim(name, `" `)
		if name == "" {
			name = address
		}
		return party{Name: name, Email: address}
	case t.isEmail(text):
		return party{Name: text, Email: text}
	case isURL(text):
		return party{Name: text, URL: text}
	}
	return party{Name: text}
}

func (t *texts) isEmail(text string) bool {
	local, _, _ := strings.Cut(text, "@")
	return len(text) <= 254 && len(local) <= 64 && t.email.MatchString(text)
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !strings.ContainsAny(text, " \"<>\\^`{|}")
}

// fileURI names a file of the machine.
func fileURI(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

// endpoint turns protocol:address:port, protocol:address and unix:path into a
// URI; "" for what is none of them.
func endpoint(listening string) string {
	protocol, rest, _ := strings.Cut(listening, ":")
	if protocol == "unix" {
		if strings.HasPrefix(rest, "/") {
			return (&url.URL{Scheme: protocol, Path: rest}).String()
		}
		return protocol + ":" + url.PathEscape(rest) // abstract, or bound by a relative path
	}
	for _, c := range protocol {
		if c < 'a' || c > 'z' {
			return ""
		}
	}
	_, err := netip.ParseAddrPort(rest)
	if _, bare := netip.ParseAddr(strings.Trim(rest, "[]")); protocol == "" || err != nil && bare != nil {
		return ""
	}
	return protocol + "://" + (&url.URL{Host: rest}).String()[len("//"):] // a zone is escaped: RFC 6874
}
