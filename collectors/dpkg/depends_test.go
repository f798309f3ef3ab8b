package dpkg

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

func TestDepends(t *testing.T) {
	there := []*record{
		{name: "app", arch: "amd64", depends: "dpkg (>= 1.15),libc6 (>= 2.34), gone, gone | exim4 | postfix, default-mta | mail-transport-agent, python3:any, app, libc6 (<< 9), ,|"},
		{name: "dpkg", arch: "amd64", depends: ","},
		{name: "libc6", arch: "amd64", depends: ","},
		{name: "libc6", arch: "i386", depends: ",libc6"},
		{name: "postfix", arch: "amd64", provides: "default-mta, mail-transport-agent (= 1), postfix", depends: ",libc6 [x]"},
		{name: "python3", arch: "all", depends: ","},
	}
	var db database
	for _, r := range there {
		db.components = append(db.components, inventory.Component{PURL: r.name + "/" + r.arch})
	}
	db.depends(there)
	for i, want := range [][]string{
		{"dpkg/amd64", "libc6/amd64", "postfix/amd64", "python3/all"}, {}, {}, {}, {"libc6/amd64"}, {},
	} {
		got := db.components[i].Depends
		if got == nil || !slices.Equal(got, want) {
			t.Errorf("%s needs %#v, want %q", db.components[i].PURL, got, want)
		}
	}
}

// What a package needs is what dpkg-query says it needs.
func TestDependsAsDpkgQuery(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("no dpkg here to compare with")
	}
	out, err := exec.CommandContext(t.Context(), "dpkg-query", "-W", "-f", "${Package}\t${Depends}\n", "bash", "coreutils", "dpkg", "apt", "login").Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	components := collect(t, New(open(t, "/"), texts), debian()).Components
	compared := 0
	for line := range strings.Lines(string(out)) {
		name, depends, _ := strings.Cut(strings.TrimSpace(line), "\t")
		i := slices.IndexFunc(components, func(c inventory.Component) bool { return c.Name == name })
		if i < 0 {
			t.Errorf("%s is not listed", name)
			continue
		}
		for group := range strings.SplitSeq(depends, ", ") {
			first, _, more := strings.Cut(group, " | ")
			first, _, _ = strings.Cut(first, " ")
			first, _, _ = strings.Cut(first, ":")
			if first == "" || more {
				continue
			}
			compared++
			here := slices.ContainsFunc(components, func(c inventory.Component) bool { return c.Name == first })
			if here && !slices.ContainsFunc(components[i].Depends, func(purl string) bool { return strings.Contains(purl, "/"+strings.ReplaceAll(first, "+", "%2B")+"@") }) {
				t.Errorf("%s needs %s, which is not among %q", name, first, components[i].Depends)
			}
		}
	}
	if compared < 5 {
		t.Errorf("compared %d only", compared)
	}
}
