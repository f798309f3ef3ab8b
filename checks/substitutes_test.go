package checks_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// replaceable is city with the table of substitutes that ships with the program.
func replaceable() configs.Policy {
	table, err := configs.Substitutes()
	if err != nil {
		panic(err) // a test of configs reads it
	}
	return with(city(), func(p *configs.Policy) {
		p.Substitutes, p.Software.UnknownShareMaximum = table, 0.05
	})
}

func component(ecosystem, name string, freedom inventory.Freedom) inventory.Component {
	return inventory.Component{Ecosystem: ecosystem, Name: name, Version: "1", PURL: "pkg:" + ecosystem + "/" + name, Licence: inventory.Licence{Freedom: freedom}}
}

// having is a machine where all is free but these.
func having(components ...inventory.Component) inventory.Facts {
	f := plus(running(), installed(99, 0, 0))
	f.Components[0].Licence.Freedom = inventory.Free
	f.Components = append(f.Components, components...)
	return f
}

// doing is the same with these programs.
func doing(processes ...inventory.Process) inventory.Facts {
	f := having()
	more := running(processes...)
	f.Processes = more.Processes
	return f
}

func substituteTrials() map[string][]trial {
	policy := replaceable()
	free, nonfree, unknown := inventory.Free, inventory.NonFree, inventory.FreedomUnknown
	still := having()
	still.Processes = nil
	bare := having()
	bare.Components, bare.Owners = nil, nil
	contained := inventory.Process{Executable: "/app/x", Container: "0123456789abcdef", MountNS: 9}
	names := func(want ...string) func(*testing.T, []finding.Finding) {
		return func(t *testing.T, found []finding.Finding) {
			for _, word := range want {
				if text := fmt.Sprint(found[0].Reason, found[0].Facts); !strings.Contains(text, word) {
					t.Errorf("%s is not in %s", word, text)
				}
			}
		}
	}
	return map[string][]trial{"SWF-002": {
		{"all free", having(), policy, only("", finding.Pass), nil},
		{"few licences unknown", having(component("dpkg", "x", unknown)), policy, only("", finding.Pass), nil},
		{"not free", having(component("dpkg", "mongodb-org-server", nonfree)), policy, only("MongoDB Community Server", finding.Fail), names("FerretDB (Apache-2.0)", "PostgreSQL, Debian package postgresql", "mongodb-org-server 1")},
		{"not free, and its licence misread", having(component("dpkg", "mssql-server", free)), policy, only("Microsoft SQL Server", finding.Fail), nil},
		{"two packages of a product", having(component("rpm", "MQSeriesRuntime", unknown), component("rpm", "MQSeriesServer", unknown)), policy, only("IBM MQ", finding.Fail), nil},
		{"free version of a product", having(component("dpkg", "redis-server", free)), policy, only("", finding.Pass), nil},
		{"version of a product that is not free", having(component("dpkg", "redis-server", nonfree)), policy, only("Redis 7.4 and later", finding.Fail), nil},
		{"version of a product of unknown licence", having(component("dpkg", "redis-server", unknown)), policy, only("Redis 7.4 and later", finding.Unknown), nil},
		{"versions of a product", having(component("dpkg", "redis-server", unknown), component("dpkg", "redis-tools", nonfree)), policy, only("Redis 7.4 and later", finding.Fail), nil},
		{"foreign control", having(component("dpkg", "amazon-ssm-agent", free)), policy, only("Amazon SSM Agent", finding.Review), names("Amazon (US) controls")},
		{"known by an unchecked name", having(component("dpkg", "google-chrome-stable", nonfree)), policy, only("Google Chrome", finding.Review), nil},
		{"not in the table", having(component("dpkg", "intel-microcode", nonfree)), policy, only("other components", finding.Review), names("intel-microcode")},
		{"by its directory", doing(inventory.Process{Executable: "/opt/splunkforwarder/bin/splunkd"}), policy, only("Splunk Universal Forwarder", finding.Fail), names("running:true")},
		{"beside its directory", doing(inventory.Process{Executable: "/opt/splunkforwarders/bin/x"}), policy, only("", finding.Pass), nil},
		{"in a container, by its directory", doing(inventory.Process{Executable: "/opt/mssql/bin/sqlservr", Container: "0123456789abcdef", MountNS: 9}), policy, only("Microsoft SQL Server", finding.Fail), nil},
		{"by its name", doing(inventory.Process{Executable: "/usr/local/bin/mongod"}), policy, only("MongoDB Community Server", finding.Fail), func(t *testing.T, found []finding.Finding) {
			if found[0].Confidence != finding.ConfidenceMedium {
				t.Errorf("confidence %s", found[0].Confidence)
			}
		}},
		{"by a name that free software has", doing(inventory.Process{Executable: "/usr/local/bin/vault"}), policy, only("HashiCorp Vault", finding.Unknown), nil},
		{
			"a local program of the same name", doing(inventory.Process{Executable: "/opt/city/portal"}, inventory.Process{Executable: "/usr/local/bin/vault"}),
			with(policy, func(p *configs.Policy) { p.Software.LocalPrograms = []string{"/usr/local/bin/vault"} }), only("", finding.Pass), nil,
		},
		{"by its script", doing(inventory.Process{Executable: "/usr/bin/python3.11", Arguments: []string{"python3", "-u", "/usr/sbin/waagent", "-daemon"}}), policy, only("Azure Linux Agent", finding.Review), nil},
		{"by its archive", doing(inventory.Process{Executable: "/usr/bin/java", Arguments: []string{"java", "-jar", "/opt/atlassian/jira/bin/start.jar"}}), policy, only("Jira Data Center", finding.Fail), nil},
		{"by its archive, named from where it lies", plus(doing(inventory.Process{Executable: "/usr/bin/java", Arguments: []string{"java", "-jar", "start.jar"}}), inventory.Facts{
			Scripts: []inventory.Script{{Process: execution(100), Path: "/opt/atlassian/jira/bin/start.jar"}},
		}), policy, only("Jira Data Center", finding.Fail), nil},
		{"by the image of its container", plus(having(), inventory.Facts{
			Containers: []inventory.Container{{Image: "mcr.microsoft.com/mssql/server:2022-latest", Tree: inventory.Tree{MountNS: 9}}},
		}), policy, only("Microsoft SQL Server", finding.Fail), names("running:true", "mssql/server")},
		{"by an image that free software has, too", plus(having(), inventory.Facts{
			Containers: []inventory.Container{{Image: "docker.io/library/redis:7.2", Tree: inventory.Tree{MountNS: 9}}},
		}), policy, only("Redis 7.4 and later", finding.Unknown), nil},
		{"a file that is only read", doing(inventory.Process{Executable: "/usr/bin/tail", Arguments: []string{"tail", "/opt/splunk/var/log/x"}}), policy, only("", finding.Pass), nil},
		{"a guest of a foreign hypervisor", doing(inventory.Process{Executable: "/usr/bin/vmtoolsd"}), policy, only("VMware vSphere, by the tools of its guests", finding.Review), nil},
		{"in a container", doing(contained), policy, only("programs that cannot be told", finding.Unknown), nil},
		{"not readable", doing(inventory.Process{Name: "x"}), policy, only("programs that cannot be told", finding.Unknown), nil},
		{"licences unknown", plus(having(), installed(0, 0, 20)), policy, only("components of unknown licence", finding.Unknown), nil},
		{"no components", bare, policy, only("components", finding.Unknown), nil},
		{"no processes", still, policy, only("programs", finding.Unknown), nil},
		{"no table", having(), city(), only("", finding.Unknown), nil},
		{"a gap", plus(having(), inventory.Facts{Gaps: gap(inventory.KindComponents, "")}), policy, only("", finding.Unknown), nil},
		{"a failure is seen through a gap", plus(having(component("dpkg", "splunk", nonfree)), inventory.Facts{Gaps: gap(inventory.KindProcesses, "")}), policy, only("Splunk Enterprise", finding.Fail), nil},
	}}
}

// SWF-001 names the substitutes of what it lists.
func TestShareNamesSubstitutes(t *testing.T) {
	facts := having(component("dpkg", "mongodb-org-server", inventory.NonFree), component("dpkg", "intel-microcode", inventory.NonFree))
	found := run(t, "SWF-001", facts, replaceable())
	if got, want := fmt.Sprint(found[0].Facts["substitutes"]), "[mongodb-org-server: FerretDB (Apache-2.0)]"; got != want {
		t.Errorf("substitutes %s, want %s", got, want)
	}
}

// A waiver is the reason on record.
func TestWaivedProduct(t *testing.T) {
	policy := with(replaceable(), func(p *configs.Policy) {
		p.Waivers = []configs.Waiver{{Check: "SWF-002", Subject: "IBM Db2", Owner: "finance", Expires: taken().AddDate(0, 6, 0)}}
	})
	found := run(t, "SWF-002", doing(inventory.Process{Executable: "/opt/ibm/db2/V11.5/adm/db2sysc"}), policy)
	if len(found) != 1 || found[0].Verdict != finding.Fail || found[0].Disposition != finding.Waived {
		t.Errorf("got %+v", found)
	}
}

// Every product of the table is found by each of its names, and by no other's.
func TestEveryProductIsFound(t *testing.T) {
	policy := replaceable()
	for i := range policy.Substitutes.Products {
		p := &policy.Substitutes.Products[i]
		subjects := make(map[string]string)
		for _, ecosystem := range slices.Sorted(maps.Keys(p.Packages)) {
			for _, name := range p.Packages[ecosystem] {
				subjects[name] = judged(t, having(component(ecosystem, strings.ReplaceAll(name, "*", "1"), inventory.FreedomUnknown)), policy)
			}
		}
		for _, name := range p.Programs {
			subjects[name] = judged(t, doing(inventory.Process{Executable: "/srv/x/" + strings.ReplaceAll(name, "*", "1")}), policy)
		}
		for _, dir := range p.Paths {
			subjects[dir] = judged(t, doing(inventory.Process{Executable: strings.ReplaceAll(dir, "*", "1") + "/bin/x"}), policy)
		}
		for name, subject := range subjects {
			if subject != p.Name {
				t.Errorf("%s: %q is found as %q", p.ID, name, subject)
			}
		}
	}
}

// judged gives the subject of the only finding of SWF-002.
func judged(t *testing.T, facts inventory.Facts, policy configs.Policy) string {
	t.Helper()
	found := run(t, "SWF-002", facts, policy)
	if len(found) != 1 {
		t.Errorf("%d findings: %+v", len(found), found)
	}
	return found[0].Subject
}

// BenchmarkSubstitutes is one round of SWF-002 on a large machine; the budget is
// 5 ms.
func BenchmarkSubstitutes(b *testing.B) {
	facts := installed(3900, 50, 50)
	for i := range 500 {
		facts.Processes = append(facts.Processes, inventory.Process{
			ID: execution(i + 1), Executable: fmt.Sprintf("/usr/lib/program%d/bin/server", i), Arguments: []string{"server", "--config", "/etc/server.conf"}, MountNS: 1,
		})
	}
	snapshot := inventory.Merge(taken(), &facts)
	policy := replaceable()
	catalogue := checks.All()
	i := slices.IndexFunc(catalogue, func(c checks.Check) bool { return c.Rule.ID == "SWF-002" })
	for b.Loop() {
		checks.Run(catalogue[i:i+1], snapshot, &policy)
	}
}
