package machine

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// firmwareDirectory holds what the firmware's tables (SMBIOS, DMI) say, a file a
// field; kernel documentation, ABI/testing/sysfs-firmware-dmi-tables. Serial
// numbers and UUIDs are for root only.
const firmwareDirectory = "/sys/class/dmi/id"

// firmware is what the firmware and the hypervisor say of the machine.
type firmware struct {
	fields   map[string]string // by file name; hypervisor_uuid is /sys/hypervisor/uuid
	failures map[string]error  // of files that are there and cannot be read
}

// readFirmware reads the fields that describe a machine and those that the table
// of clouds compares. unread says why there is no maker's name.
func readFirmware(h *host.Host, clouds configs.CloudTable) (f firmware, unread error) {
	f = firmware{fields: make(map[string]string), failures: make(map[string]error)}
	wanted := []string{"sys_vendor", "product_name", "product_serial", "product_uuid", "hypervisor_uuid", "bios_vendor", "board_vendor"}
	for _, cloud := range clouds.Clouds {
		if !slices.Contains(wanted, cloud.Field) {
			wanted = append(wanted, cloud.Field)
		}
	}
	for _, field := range wanted {
		path := firmwareDirectory + "/" + field
		if field == "hypervisor_uuid" {
			path = "/sys/hypervisor/uuid"
		}
		text, err := h.ReadLine(path)
		if err == nil {
			f.fields[field] = host.Text(text, shown)
		} else if !errors.Is(err, fs.ErrNotExist) {
			f.failures[field] = err
		}
		if field == "sys_vendor" {
			unread = err
		}
	}
	if unread == nil && f.fields["sys_vendor"] == "" {
		unread = errors.New("the maker's name is empty")
	}
	return f, unread
}

func (f firmware) describe(m *inventory.Machine) {
	m.Vendor, m.Product = named(f.fields["sys_vendor"]), named(f.fields["product_name"])
	m.Serial, m.UUID = f.fields["product_serial"], strings.ToLower(f.fields["product_uuid"])
	m.DMI = f.fields["sys_vendor"] != ""
}

// named gives "" for the texts that makers of boards leave where a name should
// be.
func named(text string) string {
	switch strings.ToLower(text) {
	case "to be filled by o.e.m.", "system manufacturer", "system product name", "default string", "not specified", "unknown", "oem", "none", "empty", "o.e.m.":
		return ""
	}
	return text
}

// platform recognises the platform that the machine is a guest of.
func (c *Collector) platform(m *inventory.Machine, f firmware) {
	recognise := func(cloud *configs.Cloud, rule string) {
		m.Platform, m.PlatformName, m.SelfHosted, m.PlatformRule = cloud.ID, cloud.Name, cloud.SelfHosted, rule
	}
	for i := range c.clouds.Clouds {
		cloud := &c.clouds.Clouds[i]
		value := f.fields[cloud.Field]
		// A provider's own name outweighs that of the software it runs.
		if value != "" && cloud.Matches(value) && (m.Platform == "" || m.SelfHosted && !cloud.SelfHosted) {
			recognise(cloud, ruleText(cloud.Field, value))
		}
	}
	if m.Platform != "" {
		return
	}
	told, rule := "", ""
	switch datasource := c.line("/run/cloud-init/cloud-id"); {
	case swappedEC2(f):
		told, rule = "aws", "product_uuid of Xen with its bytes swapped"
	case datasource != "":
		told, rule = cloudID(datasource), ruleText("cloud-id", datasource)
	}
	if i := slices.IndexFunc(c.clouds.Clouds, func(cloud configs.Cloud) bool { return cloud.ID == told }); i >= 0 {
		recognise(&c.clouds.Clouds[i], rule)
	}
}

// ruleText names the fact that recognised a platform. Serial numbers and UUIDs
// are the machine's own and not shown.
func ruleText(field, value string) string {
	if strings.HasSuffix(field, "_serial") || strings.HasSuffix(field, "_uuid") || strings.HasPrefix(value, "i-") {
		return field
	}
	return field + " = " + value
}

// swappedEC2 recognises a Xen guest of Amazon by a UUID that begins with ec2
// once the first four bytes are put in order: SMBIOS before 2.6 did not say in
// which they are. One UUID in 4096 ends its first group so by chance, therefore
// only Xen's are looked at.
func swappedEC2(f firmware) bool {
	uuid := strings.ToLower(f.fields["product_uuid"])
	if !strings.HasPrefix(f.fields["sys_vendor"], "Xen") || len(uuid) != 36 {
		return false
	}
	return strings.HasPrefix(uuid, "ec2") || uuid[6:8] == "ec" && uuid[4] == '2'
}

// cloudID gives the table's id for the name that cloud-init has for a cloud. Its
// names of data sources that anyone may use are no cloud's: nocloud, configdrive,
// none.
func cloudID(name string) string {
	switch name = strings.ToLower(name); name {
	case "aws-china", "aws-gov", "ec2":
		return "aws"
	case "gcp", "google":
		return "gce"
	case "azurestack":
		return "azure"
	case "aliyun", "alibabacloud":
		return "alibaba"
	case "nocloud", "configdrive", "none", "unknown":
		return ""
	}
	return name
}
