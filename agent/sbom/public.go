package sbom

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// public gives what may be published as open data: which software a city runs,
// from whom and on which terms. It leaves out what would help an attacker or
// point at a person: versions, hashes, host names, addresses, users, paths,
// services, data stores, programs that belong to no package, the texts of gaps,
// and the time of the day. Numbers with dots are cut from names, since packages
// bear their versions there, too: what then is the same is listed once with its
// number.
func public(b *bill) *bill {
	open := &bill{
		Taken: b.Taken.UTC().Truncate(24 * time.Hour), Tool: b.Tool, Public: true, Running: b.Running, Creator: b.Creator,
		Host: machine{Name: unnamed, OS: b.Host.OS, Arch: b.Host.Arch}, Incomplete: true,
	}
	version := regexp.MustCompile(`[-_.]?[0-9]+(\.[0-9]+)+([-+~.][0-9]+)*`)
	t := newTexts()
	t.refs[hostRef] = true
	at := make(map[string]int)
	refs := make(map[string]string) // of the bill, to those of the open one
	place := make(map[string]int)   // by the latter
	strays := 0
	for i := range b.Components {
		c := &b.Components[i]
		if c.Ecosystem == "" {
			strays++
			continue
		}
		doc := component{
			Kind: c.Kind, Ecosystem: c.Ecosystem, Name: strip(version, c.Name), Area: c.Area, PURL: bare(version, c.PURL),
			Supplier: party{Name: c.Supplier.Name}, Expression: c.Expression, Freedom: c.Freedom, Stated: c.Stated, Times: 1,
		}
		if strings.Contains(doc.Supplier.Name, "@") {
			doc.Supplier.Name = "" // an address for a name
		}
		key := fmt.Sprintf("%q", []string{doc.Ecosystem, doc.Name, doc.PURL, doc.Expression, doc.Freedom, doc.Area, doc.Supplier.Name})
		j, known := at[key]
		if !known {
			j = len(open.Components)
			at[key] = j
			if doc.PURL != "" {
				doc.Ref = t.ref(doc.PURL)
			} else {
				doc.Ref = t.ref("component:" + doc.Ecosystem + "/" + doc.Name)
			}
			place[doc.Ref] = j
			open.Components = append(open.Components, doc)
		} else {
			open.Components[j].Times++
			open.Components[j].Stated = open.Components[j].Stated && c.Stated
		}
		refs[c.Ref] = open.Components[j].Ref
	}
	for i := range b.Components {
		from, ok := refs[b.Components[i].Ref]
		if !ok {
			continue
		}
		j := place[from]
		for _, ref := range b.Components[i].Depends {
			if to, ok := refs[ref]; ok && to != from {
				open.Components[j].Depends = append(open.Components[j].Depends, to)
			}
		}
	}
	for i := range open.Components {
		slices.Sort(open.Components[i].Depends)
		open.Components[i].Depends = slices.Compact(open.Components[i].Depends)
	}
	open.Notes = []string{"versions, hashes, names and addresses of machines, paths, services and data stores are left out"}
	if strays > 0 {
		open.Notes = append(open.Notes, fmt.Sprintf("%d programs that run belong to no package that is known", strays))
	}
	if len(b.Notes) > 0 {
		open.Notes = append(open.Notes, fmt.Sprintf("%d notes on what could not be seen are in the bill that is not public", len(b.Notes)))
	}
	return open
}

// strip cuts numbers with dots out of a name, unless nothing else is left.
func strip(version *regexp.Regexp, name string) string {
	if short := strings.Trim(version.ReplaceAllString(name, ""), "-_. "); short != "" {
		return short
	}
	return unnamed
}

// bare is a package URL without version, qualifiers and the versions in its name.
func bare(version *regexp.Regexp, purl string) string {
	head, _, _ := strings.Cut(purl, "?")
	head, _, _ = strings.Cut(head, "#")
	head, _, _ = strings.Cut(head, "@")
	parts := strings.Split(head, "/")
	for i := range parts[1:] {
		name, err := url.PathUnescape(parts[i+1])
		if err != nil {
			return ""
		}
		parts[i+1] = strings.ReplaceAll(url.PathEscape(strip(version, name)), "+", "%2B")
	}
	return strings.Join(parts, "/")
}
