package geo

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// table is one database file. It is opened again when the file is replaced.
type table struct {
	name  string
	path  string // "" none is configured
	info  os.FileInfo
	built time.Time                        // zero while nothing is open
	find  func(netip.Addr) (string, error) // nil while nothing is open
	free  func() error
}

func (t *table) open() bool { return t.find != nil }

func (t *table) close() {
	if t.free != nil {
		_ = t.free() // unmapping a file that was only read
	}
	t.find, t.free, t.info, t.built = nil, nil, nil, time.Time{}
}

// refresh opens the file if it is another than before. What was open stays in
// use where the new file is bad.
func (t *table) refresh() (changed bool, err error) {
	if t.path == "" {
		return false, nil
	}
	info, err := os.Stat(t.path)
	if err != nil {
		t.close()
		return true, fmt.Errorf("open geo database: %w", err)
	}
	if t.info != nil && os.SameFile(t.info, info) && info.ModTime().Equal(t.info.ModTime()) && info.Size() == t.info.Size() {
		return false, nil
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("open geo database: %s is not a regular file", t.path)
	}
	opened, err := read(t.name, t.path)
	if err != nil {
		return false, fmt.Errorf("open geo database %s: %w", t.path, err)
	}
	t.close()
	opened.info = info
	*t = *opened
	return true, nil
}

// read opens a database whichever scheme it follows.
func read(name, path string) (opened *table, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			opened, err = nil, fmt.Errorf("the file is damaged: %v", cause)
		}
	}()
	reader, err := geoip2.Open(path)
	if errors.As(err, new(geoip2.UnknownDatabaseTypeError)) {
		_ = reader.Close() // it is open all the same
		return readFlat(name, path)
	}
	if err != nil {
		return nil, err
	}
	t := &table{name: name, path: path, built: reader.Metadata().BuildTime().UTC(), free: reader.Close}
	if name == "geo-asn" {
		t.find = func(addr netip.Addr) (string, error) {
			record, err := reader.ASN(addr)
			if err != nil {
				return "", err
			}
			return record.AutonomousSystemOrganization, nil
		}
		return t, nil
	}
	t.find = func(addr netip.Addr) (string, error) {
		record, err := reader.Country(addr)
		if err != nil {
			return "", err
		}
		return record.Country.ISOCode, nil
	}
	return t, nil
}

// flat holds the fields of databases that nest nothing: country_code and as_name
// are IPinfo Lite's, the other two those of ip-location-db.
type flat struct {
	CountryCode  string `maxminddb:"country_code"`
	ASName       string `maxminddb:"as_name"`
	Organization string `maxminddb:"autonomous_system_organization"`
}

func readFlat(name, path string) (*table, error) {
	reader, err := maxminddb.Open(path)
	if err != nil {
		return nil, err
	}
	find := func(addr netip.Addr) (string, error) {
		var record flat
		if err := reader.Lookup(addr).Decode(&record); err != nil {
			return "", err
		}
		if name == "geo-asn" {
			return cmp.Or(record.ASName, record.Organization), nil
		}
		return record.CountryCode, nil
	}
	return &table{name: name, path: path, built: reader.Metadata.BuildTime().UTC(), find: find, free: reader.Close}, nil
}
