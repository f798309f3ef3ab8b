// Package report turns a finished round into documents: JSON for programs, in
// the shapes that testdata/*.json shows, and tables for people.
//
// The JSON types are apart from the inventory's nouns on purpose: what is
// promised to the outside changes slower than what the rooms need, and only what
// is listed here can leave the program.
package report

import (
	"encoding/json"
	"fmt"

	"cityward/agent"
	"cityward/collectors/inventory"
)

// Names of the documents that [Document] makes.
const (
	Scan      = "scan"
	Inventory = "inventory"
	Flows     = "flows"
	Custody   = "custody"
	Findings  = "findings"
	Checks    = "checks"
	Status    = "status"
)

// Document gives one document of a round as JSON. The error is for names that
// are none of the constants above.
func Document(r *agent.Report, name string) ([]byte, error) {
	d := documenter{Report: r, Snapshot: r.Snapshot}
	var doc any
	switch name {
	case Scan:
		doc = d.scan()
	case Inventory:
		doc = d.inventory(false)
	case Flows:
		doc = d.flows()
	case Custody:
		doc = d.custody()
	case Findings:
		doc = d.findings()
	case Checks:
		doc = d.checks()
	case Status:
		doc = d.status()
	default:
		return nil, fmt.Errorf("make document: %q is not known", name)
	}
	return marshal(doc)
}

// RunningInventory gives the inventory of what runs now alone.
func RunningInventory(r *agent.Report) ([]byte, error) {
	d := documenter{Report: r, Snapshot: r.Snapshot}
	return marshal(d.inventory(true))
}

func marshal(doc any) ([]byte, error) {
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write document: %w", err)
	}
	return append(data, '\n'), nil
}

type documenter struct {
	*agent.Report
	*inventory.Snapshot
}
