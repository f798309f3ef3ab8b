package configs

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// States of an asset.
const (
	StatusActive  = "active"
	StatusSpare   = "spare"
	StatusRetired = "retired"
)

// Asset is a machine in the city's register.
type Asset struct {
	Serial string // as DMI product_serial gives it; "" unknown
	UUID   string // as DMI product_uuid gives it, in lower case; "" unknown
	Name   string
	Site   string
	Disks  []string // serial numbers
	Status string   // StatusActive, StatusSpare, StatusRetired
	Line   int      // of the file
}

// Register is the machines that the city owns.
type Register struct {
	Assets   []Asset
	bySerial map[string]int // in capitals
	byUUID   map[string]int
}

// maxRegister bounds a register, in bytes: some 100 000 machines.
const maxRegister = 16 << 20

// ReadRegister reads an asset register: CSV (RFC 4180) whose first line names the
// columns serial, uuid, name, site, disks and status in any order. Its error
// holds every mistake as [Errors], without the name of the file.
func ReadRegister(from io.Reader) (Register, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxRegister+1))
	if err != nil {
		return Register{}, fmt.Errorf("read asset register: %w", err)
	}
	if len(data) > maxRegister {
		return Register{}, Errors{{Line: 1, Column: 1, Reason: "is larger than 16 MiB"}}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	rows := csv.NewReader(bytes.NewReader(data))
	if first, _, _ := bytes.Cut(data, []byte("\n")); bytes.ContainsRune(first, ';') {
		rows.Comma = ';' // spreadsheets write so where the comma is for decimals
	}
	r := registerReader{
		csv:      rows,
		Register: Register{bySerial: make(map[string]int), byUUID: make(map[string]int)},
		disks:    make(map[string]int),
	}
	if err := r.read(); err != nil {
		return Register{}, err
	}
	return r.Register, nil
}

// registerReader is a register that is being read, and what is wrong with it.
type registerReader struct {
	Register
	csv     *csv.Reader
	columns []string
	disks   map[string]int // line of each
	errs    Errors
}

// fail notes a mistake in a field of the row that was read last; -1 the row.
func (r *registerReader) fail(column int, reason string) {
	e := Error{Reason: reason}
	e.Line, e.Column = r.csv.FieldPos(max(column, 0))
	if column >= 0 && column < len(r.columns) {
		e.Key = r.columns[column]
	}
	r.errs = append(r.errs, e)
}

func (r *registerReader) read() error {
	for {
		row, err := r.csv.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			if r.columns == nil {
				r.errs = Errors{{Line: 1, Column: 1, Reason: "is empty, want a first line that names the columns"}}
			}
			return r.errs.sorted()
		case errors.Is(err, csv.ErrFieldCount):
			r.fail(-1, fmt.Sprintf("has %d fields, want %d as in the first line", len(row), len(r.columns)))
		case errors.As(err, &broken):
			r.errs = append(r.errs, Error{Line: broken.Line, Column: max(broken.Column, 1), Reason: broken.Err.Error()})
			return r.errs.sorted() // what follows a broken quote means nothing
		case err != nil:
			return fmt.Errorf("read asset register: %w", err)
		case r.columns == nil:
			if r.head(row); len(r.errs) > 0 {
				return r.errs.sorted()
			}
		default:
			r.row(row)
		}
	}
}

// head reads the names of the columns.
func (r *registerReader) head(row []string) {
	known := []string{"serial", "uuid", "name", "site", "disks", "status"}
	for i, field := range row {
		name := strings.ToLower(strings.TrimSpace(field))
		switch {
		case !slices.Contains(known, name):
			r.fail(i, fmt.Sprintf("%q is no column of a register%s", name, suggest(name, known)))
		case slices.Contains(r.columns, name):
			r.fail(i, fmt.Sprintf("the column %s is there twice", name))
		}
		r.columns = append(r.columns, name)
	}
	if !slices.Contains(r.columns, "serial") && !slices.Contains(r.columns, "uuid") {
		r.fail(-1, "has neither a column serial nor a column uuid")
	}
}

// row reads one machine.
func (r *registerReader) row(row []string) {
	a := Asset{Status: StatusActive}
	a.Line, _ = r.csv.FieldPos(0)
	for i, field := range row {
		field = strings.TrimSpace(field)
		if strings.ContainsFunc(field, func(c rune) bool { return !unicode.IsGraphic(c) || c == unicode.ReplacementChar }) {
			r.fail(i, "holds characters that cannot be shown")
			continue
		}
		if field != "" {
			r.field(&a, i, field)
		}
	}
	if a.Serial == "" && a.UUID == "" {
		r.fail(-1, "the row has neither a serial nor a uuid")
	}
	r.Assets = append(r.Assets, a)
}

func (r *registerReader) field(a *Asset, column int, field string) {
	switch r.columns[column] {
	case "serial":
		a.Serial = field
		r.index(r.bySerial, column, serialKey(field))
	case "uuid":
		a.UUID = strings.ToLower(field)
		r.index(r.byUUID, column, uuidKey(field))
	case "name":
		a.Name = field
	case "site":
		a.Site = field
	case "disks":
		for disk := range strings.SplitSeq(field, ";") {
			if disk = strings.TrimSpace(disk); disk == "" {
				continue
			}
			if line, taken := r.disks[strings.ToUpper(disk)]; taken {
				r.fail(column, fmt.Sprintf("the disk %q is in line %d already", disk, line))
			}
			r.disks[strings.ToUpper(disk)] = a.Line
			a.Disks = append(a.Disks, disk)
		}
	case "status":
		a.Status = strings.ToLower(field)
		if _, err := oneOf(StatusActive, StatusSpare, StatusRetired)(a.Status); err != nil {
			r.fail(column, err.Error())
		}
	}
}

// index makes the machine of the row that is being read be found by what its
// firmware says.
func (r *registerReader) index(by map[string]int, column int, key string) {
	other, taken := by[key]
	switch {
	case key == "":
		r.fail(column, "is a placeholder or malformed, and names no machine")
	case taken:
		r.fail(column, fmt.Sprintf("is in line %d already", r.Assets[other].Line))
	default:
		by[key] = len(r.Assets)
	}
}

// Match finds the machine with this serial number or UUID. Firmware whose maker
// filled in nothing ("To be filled by O.E.M.", zeros) matches no machine, and
// neither does a serial number of one machine with the UUID of another.
func (r Register) Match(serial, uuid string) (Asset, bool) {
	s, hasSerial := r.bySerial[serialKey(serial)]
	u, hasUUID := r.byUUID[uuidKey(uuid)]
	switch {
	case hasSerial && hasUUID && s != u:
		return Asset{}, false
	case hasSerial:
		return r.Assets[s], true
	case hasUUID:
		return r.Assets[u], true
	}
	return Asset{}, false
}

// serialKey is the form in which serial numbers are compared; "" for one that
// names no machine.
func serialKey(serial string) string {
	key := strings.ToUpper(strings.TrimSpace(serial))
	switch key {
	case "NONE", "N/A", "NA", "NULL", "UNKNOWN", "DEFAULT", "OEM", "O.E.M.", "INVALID", "EMPTY", "SERIAL",
		"DEFAULT STRING", "NOT SPECIFIED", "NOT AVAILABLE", "NOT APPLICABLE", "NOT PRESENT",
		"SYSTEM SERIAL NUMBER", "SERIAL NUMBER", "CHASSIS SERIAL NUMBER", "TO BE FILLED BY O.E.M.", "TO BE FILLED BY OEM",
		"123456789", "1234567890", "0123456789":
		return ""
	}
	if uniform(key) {
		return ""
	}
	return key
}

// uuidKey is the same for UUIDs.
func uuidKey(uuid string) string {
	key := strings.ToLower(strings.TrimSpace(uuid))
	// The last is in the tables of many boards whose maker set none.
	if len(key) != 36 || uniform(key) || key == "03000200-0400-0500-0006-000700080009" {
		return ""
	}
	return key
}

// uniform reports whether a key is one character again and again: 0, 0000, FFFF,
// all but separators.
func uniform(key string) bool {
	plain := strings.Map(func(c rune) rune {
		if strings.ContainsRune("-. _:", c) {
			return -1
		}
		return c
	}, key)
	return plain == "" || strings.Trim(plain, plain[:1]) == ""
}
