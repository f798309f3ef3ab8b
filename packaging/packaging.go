// Package packaging carries what an installation consists of beside the program:
// the systemd unit, the system user, the scripts of the Debian package and the
// tools module.
//
// The unit in systemd/cityward.service is the one that the Debian package ships
// and the one that "cityward service install" writes: two ways to install, one
// set of rights. Its comments say why each right is given.
package packaging

import (
	_ "embed"
	"strings"
)

// executable is where the Debian package puts the program; the unit names it.
const executable = "/usr/bin/cityward"

//go:embed systemd/cityward.service
var unit string

// Unit returns the systemd unit (systemd.service(5)) as the Debian package ships
// it, for the program at /usr/bin/cityward.
func Unit() string { return unit }

// UnitTemplate returns the unit with a placeholder for the program's path, as
// the option "SystemdScript" of kardianos/service 1.3 wants it. That package has
// a template language of its own; it is not text/template.
func UnitTemplate() string {
	return strings.ReplaceAll(unit, executable, "{{Path | cmdEscape}}")
}
