package licence

import "strings"

// word is a word of a text in lower case and where it stands.
type word struct {
	text   string
	lo, hi int
}

// split gives the words of a text: letters, digits, a plus after them, and a dot
// between digits. All else parts words.
func split(text []byte) []word {
	lower := strings.ToLower(string(text))
	if len(lower) != len(text) { // of letters whose case has another length
		lower = string(asciiLower(text))
	}
	var words []word
	for i := 0; i < len(lower); {
		if !letter(lower[i]) {
			i++
			continue
		}
		lo := i
		for i < len(lower) && (letter(lower[i]) || lower[i] == '+' || lower[i] == '.' && digit(lower[i-1]) && i+1 < len(lower) && digit(lower[i+1])) {
			i++
		}
		words = append(words, word{lower[lo:i], lo, i})
	}
	return words
}

func asciiLower(text []byte) []byte {
	lower := make([]byte, len(text))
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return lower
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || digit(c) || c >= 0x80 }

func digit(c byte) bool { return '0' <= c && c <= '9' }

// joined gives words as one line with a blank before and after each.
func joined(words []word) string {
	var b strings.Builder
	b.WriteByte(' ')
	for _, w := range words {
		b.WriteString(w.text)
		b.WriteByte(' ')
	}
	return b.String()
}

// has reports whether any of the phrases, parted by semicolons, is in a line as
// joined gives it.
func has(line, phrases string) bool {
	for phrase := range strings.SplitSeq(phrases, ";") {
		if strings.Contains(line, " "+phrase+" ") {
			return true
		}
	}
	return false
}
