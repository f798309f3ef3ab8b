package configs

import (
	"cmp"
	_ "embed"
	"path"
	"slices"
	"strings"
	"time"
)

//go:embed facts/substitutes.toml
var substitutesText string

// Kinds of product in the table of substitutes.
const (
	ProductNonFree = "nonfree"         // its licence is not free
	ProductForeign = "foreign-control" // free, but it hands a part of the machine to a service beyond the city
)

// Ways in which what identifies a product was checked.
const (
	CheckedArchive = "archive" // the package index of Debian
	CheckedDocs    = "docs"    // what the maker documents or ships
	CheckedCode    = "code"    // named so in public code that installs or watches the product
	CheckedNames   = "names"   // not checked: known by name alone, which is no proof
)

// SubstituteTable is the reviewed table of products that are not free, or that
// others control, and of free software that can take their place.
type SubstituteTable struct {
	Date     time.Time // when the table that ships with the program was reviewed, UTC
	Own      time.Time // the same of the operator's own table; zero where there is none
	Products []Product

	claims map[string][]claim // by field of a product, sorted
}

// Product is software of one maker.
type Product struct {
	ID          string
	Name        string
	Maker       string
	Country     string              // ISO 3166-1 of the place from which the maker is controlled
	Licence     string              // SPDX expression, or "proprietary"
	Kind        string              // ProductNonFree, ProductForeign
	Ambiguous   bool                // free software has the same names: what was found to be free is not meant
	Packages    map[string][]string // by ecosystem, as the inventory names it
	Programs    []string            // names of executables, without directory
	Paths       []string            // directories that are the product's alone, and single files
	Images      []string            // container images, without tag
	Substitutes []Substitute        // the nearest first
	Effort      string              // of a move to the first, in a few words
	Checked     string              // CheckedArchive, CheckedDocs, CheckedCode, CheckedNames
	Source      string              // page of the maker or the project
	Reviewed    time.Time           // UTC
}

// Substitute is free software.
type Substitute struct {
	ID      string
	Name    string
	Licence string // SPDX expression
	Debian  string // package in Debian main; "" none
	Source  string // page of the project
}

// Fields by which a product is found, beside the ecosystems.
const (
	byProgram = "programs"
	byPath    = "paths"
	byImage   = "images"
)

// ecosystems are those of the inventory whose packages a product may name.
func ecosystems() []string {
	return []string{"dpkg", "rpm", "apk", "python", "node", "java", "gobinary"}
}

// fields are all by which a product may be found.
func fields() []string { return append(ecosystems(), byProgram, byPath, byImage) }

// claim is one name that is a product's.
type claim struct {
	text    string
	prefix  bool // whatever begins so, too
	product int
	at      value // where it is written; of no document for the shipped table below an own one
}

// Substitutes reads the table that ships with the program.
func Substitutes() (*SubstituteTable, error) {
	return parseSubstitutes("substitutes.toml", []byte(substitutesText), nil)
}

// Package gives the product that a package belongs to, nil if the table knows
// none.
func (t *SubstituteTable) Package(ecosystem, name string) *Product {
	return t.find(ecosystem, normal(ecosystem, name))
}

// Path gives the product whose directory a file is in.
func (t *SubstituteTable) Path(file string) *Product { return t.find(byPath, file+"/") }

// Program gives the product that has an executable of this name. Names are no
// proof: other software may use the same.
func (t *SubstituteTable) Program(executable string) *Product {
	return t.find(byProgram, path.Base(executable))
}

// Image gives the product that a container image holds, by its reference in the
// form of the OCI distribution specification: registry, repository, tag, digest.
func (t *SubstituteTable) Image(reference string) *Product {
	return t.find(byImage, normal(byImage, reference))
}

// find looks up the last claim that does not come after the name. No claim begins
// with another, so this is the only one that may hold.
func (t *SubstituteTable) find(field, name string) *Product {
	if t == nil {
		return nil
	}
	list := t.claims[field]
	i, exact := slices.BinarySearchFunc(list, name, func(c claim, name string) int { return cmp.Compare(c.text, name) })
	if !exact {
		i--
	}
	if i < 0 || list[i].text != name && (!list[i].prefix || !strings.HasPrefix(name, list[i].text)) {
		return nil
	}
	return &t.Products[list[i].product]
}

// normal gives the form in which names of a field are compared.
func normal(field, name string) string {
	switch field {
	case byProgram, byPath:
		return name
	case "python": // PEP 503
		return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
	case byImage:
		return imageName(name)
	}
	return strings.ToLower(name)
}

// imageName leaves out tag, digest, and what the reference means without saying
// so.
func imageName(reference string) string {
	name, _, _ := strings.Cut(strings.ToLower(reference), "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	for _, implied := range []string{"index.docker.io/", "docker.io/", "library/"} {
		name = strings.TrimPrefix(name, implied)
	}
	return name
}

// Describe names a substitute for people: name, licence, package.
func (s Substitute) Describe() string {
	if s.Debian == "" {
		return s.Name + " (" + s.Licence + ")"
	}
	return s.Name + " (" + s.Licence + ", Debian package " + s.Debian + ")"
}
