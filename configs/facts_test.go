package configs

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClouds(t *testing.T) {
	table, err := Clouds()
	if err != nil {
		t.Fatal(err)
	}
	if table.Date.Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || !table.Date.Equal(table.Date.Truncate(day)) {
		t.Errorf("the date is %s", table.Date)
	}
	fields := []string{"sys_vendor", "product_name", "product_serial", "chassis_asset_tag", "board_asset_tag", "hypervisor_uuid"}
	union := strings.Fields("AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE")
	names := make(map[string]Cloud)
	seen := make(map[[2]string]bool)
	for _, c := range table.Clouds {
		if !slices.Contains(fields, c.Field) {
			t.Errorf("%s: nobody reads the field %q", c.ID, c.Field)
		}
		if c.EU != slices.Contains(union, c.Country) {
			t.Errorf("%s: country %q, eu %v", c.ID, c.Country, c.EU)
		}
		if c.SelfHosted && c.Country != "" {
			t.Errorf("%s: software has no country", c.ID)
		}
		if first, ok := names[c.ID]; ok && (first.Name != c.Name || first.Country != c.Country) {
			t.Errorf("%s is %q and %q", c.ID, first.Name, c.Name)
		}
		if key := [2]string{c.Field, c.Value}; seen[key] {
			t.Errorf("%s: %v is there twice", c.ID, key)
		} else {
			seen[key] = true
		}
		names[c.ID] = c
	}
	for id := range strings.FieldsSeq("aws azure gce oracle alibaba otc sap huawei samsung zstack cloudstack cloudcix exoscale cloudsigma openstack smartdc outscale brightbox digitalocean upcloud hetzner vultr scaleway akamai nwcs e24cloud tilaa") {
		if _, ok := names[id]; !ok {
			t.Errorf("%s is not in the table", id)
		}
	}
}

func TestCloudMatches(t *testing.T) {
	table, err := Clouds()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ field, value, want string }{
		{"sys_vendor", "Hetzner", "hetzner"},
		{"sys_vendor", " hetzner\n", "hetzner"},
		{"sys_vendor", "Hetzner GmbH", ""},
		{"sys_vendor", "Amazon EC2", "aws"},
		{"board_asset_tag", "i-0af01c0123456789a", "aws"},
		{"board_asset_tag", "i-5 rack 3", ""},
		{"hypervisor_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef", "aws"},
		{"product_serial", "EC2E1916-9099-7CAF-FD21-012345ABCDEF", "aws"},
		{"product_serial", "EC2X77", ""},
		{"product_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef", ""},
		{"chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", "azure"},
		{"product_serial", "GoogleCloud-0123", "gce"},
		{"product_serial", "srv-1.brightbox.com", "brightbox"},
		{"product_name", "CloudStack KVM Hypervisor", "cloudstack"},
		{"product_name", "OpenStack Nova", "openstack"},
		{"sys_vendor", "Dell Inc.", ""},
		{"sys_vendor", "", ""},
	}
	for _, tt := range tests {
		got := ""
		for _, c := range table.Clouds {
			if c.Field == tt.field && c.Matches(tt.value) {
				got = c.ID
			}
		}
		if got != tt.want {
			t.Errorf("%s = %q: %q, want %q", tt.field, tt.value, got, tt.want)
		}
	}
}

func TestEngines(t *testing.T) {
	table, err := Engines()
	if err != nil {
		t.Fatal(err)
	}
	if table.Date.Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the date is %s", table.Date)
	}
	processes := make(map[string]string)
	runtimes := []string{"java", "beam.smp"}
	var ids []string
	for _, e := range table.Engines {
		ids = append(ids, e.ID)
		for _, dir := range e.Directories {
			if !strings.HasPrefix(dir, "/") {
				t.Errorf("%s: the directory %s is not absolute", e.ID, dir)
			}
		}
		for _, p := range e.Processes {
			if strings.Contains(p, "/") {
				t.Errorf("%s: the process %s has a directory", e.ID, p)
			}
			if runtime := slices.Contains(runtimes, p); runtime != (len(e.Arguments) > 0) {
				t.Errorf("%s: a runtime needs arguments, and only that does", e.ID)
			} else if other := processes[p]; other != "" && !runtime {
				t.Errorf("the process %s is of %s and %s", p, other, e.ID)
			}
			processes[p] = e.ID
		}
		for _, f := range e.Flags {
			if !strings.HasPrefix(f, "-") {
				t.Errorf("%s: %s is no flag", e.ID, f)
			}
		}
	}
	for id := range strings.FieldsSeq("postgresql mariadb mongodb redis opensearch elasticsearch openldap minio couchdb influxdb clickhouse cassandra etcd neo4j rabbitmq") {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is not in the table", id)
		}
	}
}

// TestFactsAreStrict: a table is read like a configuration.
func TestFactsAreStrict(t *testing.T) {
	_, err := parseClouds("c", []byte("table = \"clods\"\n[[cloud]]\nid = \"a\"\nname = \"A\"\nfield = \"f\"\nkind = \"glob\"\nvalue = \"[\"\ncolour = 1\n"))
	want := "c:1:1: date: is missing\nc:1:9: table: \"clods\" is none of clouds\nc:2:3: cloud.source: is missing\n" +
		"c:7:9: cloud.value: is no pattern of path.Match\nc:8:1: cloud.colour: is unknown"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := parseEngines("e", []byte("x")); err == nil {
		t.Error("broken syntax is accepted")
	}
}
