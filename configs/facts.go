package configs

import (
	_ "embed"
	"errors"
	"path"
	"strings"
	"time"
)

// Kinds of comparison in a table of facts.
const (
	MatchExact  = "exact"
	MatchPrefix = "prefix"
	MatchGlob   = "glob" // of path.Match
)

//go:embed facts/clouds.toml
var cloudsText string

//go:embed facts/engines.toml
var enginesText string

// CloudTable is the reviewed table of platforms that name themselves.
type CloudTable struct {
	Date   time.Time // when it was reviewed, UTC
	Clouds []Cloud
}

// Cloud is one sign by which a platform is known. A platform may have several.
type Cloud struct {
	ID         string
	Name       string
	Country    string // ISO 3166-1 of the operator, "" unknown or software that anybody may run
	EU         bool   // the country is a member of the European Union
	SelfHosted bool   // software that a city may run itself: the sign proves no foreign hands
	Field      string // file of /sys/class/dmi/id, or hypervisor_uuid for /sys/hypervisor/uuid
	Kind       string // MatchExact, MatchPrefix, MatchGlob
	Value      string
	Source     string // where the fact is from
}

// Matches reports whether what the field holds is the sign. Letters match in
// both cases.
func (c Cloud) Matches(field string) bool {
	have, want := strings.ToLower(strings.TrimSpace(field)), strings.ToLower(c.Value)
	switch c.Kind {
	case MatchExact:
		return have == want
	case MatchPrefix:
		return strings.HasPrefix(have, want)
	case MatchGlob:
		ok, err := path.Match(want, have)
		return ok && err == nil
	}
	return false
}

// EngineTable is the reviewed table of programs that keep data.
type EngineTable struct {
	Date    time.Time // when it was reviewed, UTC
	Engines []Engine
}

// Engine is a program that keeps data for others. Its process has one of the
// names in Processes and, where Arguments are given, one of them among its
// arguments.
type Engine struct {
	ID          string
	Name        string
	Processes   []string // names of the executable, without directory
	Arguments   []string // of a program in a runtime: its main class and the like
	Directories []string // globs of path.Match, the most specific first
	Flags       []string // that name the directory: FLAG DIR, FLAG=DIR, or -fDIR for one letter
	Source      string   // where the facts are from
}

// Clouds reads the table of platforms that ships with the program.
func Clouds() (CloudTable, error) { return parseClouds("clouds.toml", []byte(cloudsText)) }

// Engines reads the table of data engines that ships with the program.
func Engines() (EngineTable, error) { return parseEngines("engines.toml", []byte(enginesText)) }

func parseClouds(name string, data []byte) (CloudTable, error) {
	t, err := open(name, data)
	if err != nil {
		return CloudTable{}, err
	}
	table := CloudTable{Date: factsHead(t, "clouds")}
	for _, row := range t.rows("cloud") {
		var c Cloud
		need(row, "id", &c.ID, parsed(parseID))
		need(row, "name", &c.Name, parsed(parseWords))
		set(row, "country", &c.Country, parsed(parseCountry))
		set(row, "eu", &c.EU, expect[bool])
		set(row, "self_hosted", &c.SelfHosted, expect[bool])
		need(row, "field", &c.Field, parsed(parseWords))
		need(row, "kind", &c.Kind, parsed(oneOf(MatchExact, MatchPrefix, MatchGlob)))
		need(row, "value", &c.Value, parsed(parseWords))
		need(row, "source", &c.Source, parsed(parseWords))
		row.close()
		if _, err := parseGlob(c.Value); c.Kind == MatchGlob && err != nil {
			row.fail("value", "%s", err)
		}
		table.Clouds = append(table.Clouds, c)
	}
	t.close()
	return table, t.doc.errs.sorted()
}

func parseEngines(name string, data []byte) (EngineTable, error) {
	t, err := open(name, data)
	if err != nil {
		return EngineTable{}, err
	}
	table := EngineTable{Date: factsHead(t, "engines")}
	id := once(parsed(parseID))
	for _, row := range t.rows("engine") {
		var e Engine
		need(row, "id", &e.ID, id)
		need(row, "name", &e.Name, parsed(parseWords))
		need(row, "processes", &e.Processes, some(listOf(parsed(parseWords))))
		set(row, "arguments", &e.Arguments, listOf(parsed(parseWords)))
		need(row, "directories", &e.Directories, some(listOf(parsed(parseGlob))))
		set(row, "flags", &e.Flags, listOf(parsed(parseWords)))
		need(row, "source", &e.Source, parsed(parseWords))
		row.close()
		table.Engines = append(table.Engines, e)
	}
	t.close()
	return table, t.doc.errs.sorted()
}

// factsHead reads what stands above the rows of a table of facts.
func factsHead(t *table, name string) time.Time {
	var table string
	var date time.Time
	need(t, "table", &table, parsed(oneOf(name)))
	need(t, "date", &date, lastDay)
	return date.Truncate(day)
}

func parseGlob(s string) (string, error) {
	if _, err := path.Match(s, ""); err != nil {
		return "", errors.New("is no pattern of path.Match")
	}
	return s, nil
}
