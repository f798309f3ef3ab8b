package host

import (
	"bytes"
	"strings"
)

// OSRelease is the part of os-release(5) that is shown.
type OSRelease struct{ ID, VersionID, PrettyName string }

// ParseOSRelease reads os-release(5): assignments as a shell would read them,
// without expansion. Lines of another shape mean nothing.
func ParseOSRelease(data []byte) OSRelease {
	release := OSRelease{ID: "linux", PrettyName: "Linux"} // as os-release(5) has it for those that say nothing
	for raw := range bytes.Lines(data) {
		name, value, found := strings.Cut(strings.TrimSpace(string(raw)), "=")
		if !found {
			continue
		}
		value = Text(unquoteShell(value), 256)
		switch name {
		case "ID":
			release.ID = value
		case "VERSION_ID":
			release.VersionID = value
		case "PRETTY_NAME":
			release.PrettyName = value
		}
	}
	return release
}

// unquoteShell takes off the quotes and backslashes of a shell word.
func unquoteShell(value string) string {
	if len(value) < 2 || (value[0] != '"' && value[0] != '\'') || value[len(value)-1] != value[0] {
		return value
	}
	inner := value[1 : len(value)-1]
	if value[0] == '\'' {
		return inner
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) && strings.IndexByte("\"$`\\", inner[i+1]) >= 0 {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}
