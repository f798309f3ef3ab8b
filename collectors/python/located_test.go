package python

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cityward/collectors/inventory"
)

func TestRecord(t *testing.T) {
	const site = "/srv/venv/lib/python3.11/site-packages"
	for name, test := range map[string]struct {
		record string
		want   []string
	}{
		"as pip writes it": {
			"../../../bin/flask,sha256=a,1\r\n../../../share/man/flask.1,,\nflask/__init__.py,sha256=b,2\nflask/json/tag.py,,\nflask-3.dist-info/RECORD,,\n" +
				"flask-3.dist-info/licenses/x/LICENSE,,\n__pycache__/six.cpython-311.pyc,,\nsix.py,,\n\"odd,name/a.py\",,\n",
			[]string{"/srv/venv/bin/flask", site + "/flask", site + "/odd,name", site + "/six.py"},
		},
		"packages of one name space": {"google/auth/a.py,,\ngoogle/auth/b/c.py,,\n", []string{site + "/google/auth"}},
		"what it may not claim":      {"/usr/bin/sudo,,\n../../../../../usr/local/bin/x,,\n../other-site/a/b.py,,\n/,,\n,,\n..,,\n", nil},
	} {
		if got, err := parseRecord(strings.NewReader(test.record), site); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, bad := range []string{strings.Repeat("a/", 100) + "b.py,,\n", strings.Repeat("a", 2000) + ",,\n"} {
		if got, err := parseRecord(strings.NewReader(bad), site); err == nil {
			t.Errorf("too deep: %q", got)
		}
	}
	var many strings.Builder
	for range mostDirs + 2 {
		many.WriteString(strings.Repeat("a", many.Len()%97+1) + "/" + strings.Repeat("b", many.Len()/97%4000+1) + "/x.py,,\n")
	}
	if got, err := parseRecord(strings.NewReader(many.String()), site); err == nil {
		t.Errorf("%d places of very many", len(got))
	}
	if got, err := parseTop(strings.NewReader("six\n../up\n..\n_yaml\n"), site); err != nil ||
		!slices.Equal(got, []string{site + "/six", site + "/six.py", site + "/_yaml", site + "/_yaml.py"}) {
		t.Errorf("top level %q, %v", got, err)
	}
}

// Python's own installer puts pip into a virtual environment.
func TestWherePipLies(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "opt/portal/venv")
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "venv", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	facts := collect(t, New(open(t, root), texts), &inventory.Facts{})
	var found []string
	for _, c := range facts.Components {
		if c.Name != "pip" {
			continue
		}
		for _, l := range c.Locations {
			if !l.Recorded {
				t.Errorf("%+v is not recorded", l)
			}
			found = append(found, l.Path)
		}
	}
	for _, want := range []string{"/opt/portal/venv/bin/pip", "/opt/portal/venv/bin/pip3"} {
		if !slices.Contains(found, want) {
			t.Errorf("%s is not among %q", want, found)
		}
	}
	inside := func(path string) bool { return strings.HasSuffix(path, "/site-packages/pip") }
	if !slices.ContainsFunc(found, inside) || len(facts.Gaps) != 0 {
		t.Errorf("found %q, gaps %+v", found, facts.Gaps)
	}
}

func FuzzRecord(f *testing.F) {
	data, err := os.ReadFile("testdata/pip.RECORD") // some lines of that of pip 23.0.1
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add("six.py,,\n\"odd,name/a.py\",,\n/usr/bin/x,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		const site = "/a/lib/python3/site-packages"
		paths, err := parseRecord(strings.NewReader(text), site)
		if err != nil && paths != nil || len(paths) > mostLocations {
			t.Errorf("%d paths, %v", len(paths), err)
		}
		for _, p := range paths {
			if !strings.HasPrefix(p, site+"/") && filepath.Dir(p) != "/a/bin" {
				t.Errorf("it claims %q", p)
			}
		}
	})
}
