package snap

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// sizeYAML bounds a snap.yaml; large ones have some 50 KB.
const sizeYAML = 1 << 20

var errYAML = errors.New("no snap.yaml that states name and version")

func read(h *host.Host, path string) (inventory.Component, error) {
	data, err := h.ReadFile(path, sizeYAML)
	if err != nil {
		return inventory.Component{}, err
	}
	return parse(data)
}

// parse reads the keys that are wanted, each a scalar at the top of the file, by
// the snap format.
func parse(data []byte) (inventory.Component, error) {
	values := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			continue
		}
		switch key {
		case "name", "version", "license", "type":
			var text string
			if len(value) > 1024 || yaml.Unmarshal([]byte(value), &text) != nil {
				return inventory.Component{}, errYAML
			}
			values[key] = strings.TrimSpace(text)
		case "architectures":
			var list []string
			if len(value) <= 1024 && yaml.Unmarshal([]byte(value), &list) == nil && len(list) == 1 {
				values[key] = list[0]
			}
		}
	}
	c := inventory.Component{
		Ecosystem: name, Name: host.Text(values["name"], 256), Version: host.Text(values["version"], 256),
		Arch: host.Text(values["architectures"], 64),
	}
	if c.Name == "" || c.Version == "" {
		return c, errYAML
	}
	c.PURL = installed.PURL("snap", "", c.Name, c.Version, "arch", c.Arch)
	if l := values["license"]; l != "" && !strings.EqualFold(l, "unset") { // snapcraft's word for none
		c.Licence = inventory.Licence{Declared: host.Text(l, 256), Source: "snap.yaml"}
		if strings.EqualFold(l, "proprietary") {
			c.Licence.Freedom = inventory.NonFree
			return c, nil
		}
		c.Licence.Expression, c.Licence.Freedom = spdx.Expression(l)
	}
	return c, nil
}
