package collectors

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"cityward/collectors/inventory"
)

// label is what a person read in the texts of one package; testdata/licences has
// the conventions.
type label struct {
	Name, Version, Area string
	From, File          string
	Truth, Freedom, Why string
	HeldOut             bool `toml:"held_out"`
}

// score counts the labels that the collectors agree with.
type score struct{ right, of, heldRight, heldOf int }

func (s *score) add(right bool, l *label) {
	s.of++
	if l.HeldOut {
		s.heldOf++
	}
	if right {
		s.right++
		if l.HeldOut {
			s.heldRight++
		}
	}
}

// The licences of real packages, as the collectors find them where the databases
// of a machine have them, against what a person read.
func TestLicencesOfLabelledPackages(t *testing.T) {
	labels, texts := readLabels(t), readTexts(t)
	var total score
	nonFree, mainArea, unknown := 0, 0, 0
	for _, system := range []struct {
		name, collector string
		layOut          func(t *testing.T, root string, labels []label, texts map[string][]byte)
	}{
		{"dpkg", "dpkg", layOutDebian},
		{"rpm", "rpm", layOutRPM},
		{"python", "python", layOutPython},
		{"npm", "node", layOutNode},
		{"java", "java", layOutJava},
	} {
		machines := [][]label{labels[system.name]}
		if system.name == "java" { // archives are told apart by their files
			machines = slices.Collect(slices.Chunk(labels[system.name], 1))
		}
		found := make(map[string]inventory.Licence)
		for _, installed := range machines {
			root := t.TempDir()
			system.layOut(t, root, installed, texts)
			components := componentsBelow(t, root, system.collector)
			for i := range components {
				found[components[i].Name+" "+components[i].Version] = components[i].Licence
			}
			if system.name == "java" && len(components) == 1 {
				found[installed[0].Name+" "] = components[0].Licence
			}
		}
		var s score
		for i := range labels[system.name] {
			l := &labels[system.name][i]
			got, there := found[l.Name+" "+l.Version]
			if !there {
				t.Errorf("%s: %s %s is not found", system.name, l.Name, l.Version)
			}
			right := canonical(t, got.Expression) == canonical(t, l.Truth)
			s.add(right, l)
			total.add(right, l)
			switch {
			case right:
			case l.HeldOut:
				t.Logf("%s: %s, held out, is not right", system.name, l.Name)
			default:
				t.Logf("%s: %s: got %q (%s), want %q", system.name, l.Name, got.Expression, got.Source, l.Truth)
			}
			if l.Freedom == "nonfree" {
				nonFree++
				if got.Freedom == inventory.Free {
					t.Errorf("%s: %s is called free and is not: %q, %q", system.name, l.Name, got.Declared, got.Expression)
				}
			} else if right && got.Freedom.String() != l.Freedom {
				t.Logf("%s: %s is called %s, want %s", system.name, l.Name, got.Freedom, l.Freedom)
			}
			if l.Area == "main" {
				mainArea++
				if got.Expression == "" || got.Freedom == inventory.FreedomUnknown {
					unknown++
				}
			}
		}
		t.Logf("%s: %d of %d strictly right, held out: %d of %d", system.name, s.right, s.of, s.heldRight, s.heldOf)
	}
	t.Logf("all: %d of %d strictly right, held out: %d of %d; unknown in Debian main: %d of %d",
		total.right, total.of, total.heldRight, total.heldOf, unknown, mainArea)
	if total.right*100 < 90*total.of {
		t.Errorf("%d of %d are strictly right, want 90 %%", total.right, total.of)
	}
	if unknown*100 > 3*mainArea {
		t.Errorf("%d of %d in Debian main are unknown, want at most 3 %%", unknown, mainArea)
	}
	if total.of < 300 || nonFree < 25 || total.heldOf < 50 {
		t.Errorf("the set has %d labels, %d not free, %d held out", total.of, nonFree, total.heldOf)
	}
}

func readLabels(t *testing.T) map[string][]label {
	t.Helper()
	labels := make(map[string][]label)
	about, err := toml.DecodeFile("testdata/licences/labels.toml", &labels)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range about.Undecoded() {
		t.Errorf("labels.toml has %s", key)
	}
	for system, of := range labels {
		known := make(map[string]bool)
		for _, l := range of {
			if known[l.Name] {
				t.Errorf("%s: %s has two labels", system, l.Name)
			}
			known[l.Name] = true
			if !slices.Contains([]string{"free", "nonfree", "unknown"}, l.Freedom) || l.Truth == "" {
				t.Errorf("%s: %s has no full label", system, l.Name)
			}
		}
	}
	return labels
}

// readTexts gives the files of the archive by their paths.
func readTexts(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/licences/texts.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string][]byte)
	for in := tar.NewReader(packed); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == tar.TypeReg {
			if texts[path.Clean(head.Name)], err = io.ReadAll(in); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func componentsBelow(t *testing.T, root, collector string) []inventory.Component {
	t.Helper()
	catalogue := slices.DeleteFunc(All(), func(s Spec) bool { return s.Name != collector })
	set, err := Build(catalogue, root, testConfig(t), noon)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	parts, failures := round(t.Context(), t, set)
	if failures[collector] != nil {
		t.Fatal(failures[collector])
	}
	for _, gap := range parts[collector].Gaps {
		t.Errorf("%s: gap: %s %s", collector, gap.Subject, gap.Reason)
	}
	return parts[collector].Components
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// below gives the files of a directory of the archive, by their paths in it, in
// order.
func below(t *testing.T, texts map[string][]byte, dir string) []string {
	t.Helper()
	var files []string
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if file, ok := strings.CutPrefix(name, dir+"/"); ok {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		t.Errorf("the archive has no %s", dir)
	}
	return files
}

// layOutDebian writes dpkg's database, the copyright files, and apt's lists of the
// four archive areas.
func layOutDebian(t *testing.T, root string, labels []label, texts map[string][]byte) {
	t.Helper()
	var status bytes.Buffer
	indexes := make(map[string]*bytes.Buffer)
	for _, area := range []string{"main", "contrib", "non-free", "non-free-firmware"} {
		indexes[area] = &bytes.Buffer{}
	}
	for _, l := range labels {
		control := texts["dpkg/"+l.Name+"/control"]
		listed, index := l.Name, indexes[l.Area]
		if len(control) == 0 || index == nil {
			t.Fatalf("%s has no control file, or no area", l.Name)
		}
		if bytes.Contains(control, []byte("\nMulti-Arch: same\n")) {
			listed += ":amd64"
		}
		status.WriteString("Status: install ok installed\n" + string(control) + "\n")
		index.WriteString(string(control) + "Filename: pool/" + l.Area + "/" + l.Name + ".deb\n\n")
		write(t, filepath.Join(root, "var/lib/dpkg/info", listed+".list"), texts["dpkg/"+l.Name+"/list"])
		write(t, filepath.Join(root, "usr/share/doc", l.Name, "copyright"), texts["dpkg/"+l.Name+"/copyright"])
	}
	write(t, filepath.Join(root, "var/lib/dpkg/status"), status.Bytes())
	const archive = "mirror.example_debian_dists_bookworm_"
	release := "Origin: Debian\nLabel: Debian\nSuite: oldstable\nCodename: bookworm\nComponents: main contrib non-free-firmware non-free\n"
	write(t, filepath.Join(root, "var/lib/apt/lists", archive+"InRelease"), []byte(release))
	for area, index := range indexes {
		write(t, filepath.Join(root, "var/lib/apt/lists", archive+area+"_binary-amd64_Packages"), index.Bytes())
	}
}

// layOutRPM writes a database in SQLite.
func layOutRPM(t *testing.T, root string, _ []label, texts map[string][]byte) {
	t.Helper()
	file := filepath.Join(root, "usr/lib/sysimage/rpm/rpmdb.sqlite")
	write(t, file, nil)
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(texts["rpm/tags.tsv"])) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if _, err := db.ExecContext(t.Context(), "INSERT INTO Packages (blob) VALUES (?)", rpmHeader(fields)); err != nil {
			t.Fatal(err)
		}
	}
}

// rpmHeader makes a header of rpm: name, version, release, architecture, vendor,
// source and licence, each a string.
func rpmHeader(fields []string) []byte {
	const typeString = 6
	var index, data []byte
	for i, tag := range []uint32{1000, 1001, 1002, 1022, 1011, 1044, 1014} {
		for _, number := range []uint32{tag, typeString, uint32(len(data)), 1} {
			index = binary.BigEndian.AppendUint32(index, number)
		}
		data = append(append(data, fields[i]...), 0)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(index)/16))
	return slices.Concat(binary.BigEndian.AppendUint32(head, uint32(len(data))), index, data)
}

func layOutPython(t *testing.T, root string, _ []label, texts map[string][]byte) {
	t.Helper()
	for _, file := range below(t, texts, "python") {
		write(t, filepath.Join(root, "usr/lib/python3/dist-packages", file), texts["python/"+file])
	}
}

func layOutNode(t *testing.T, root string, _ []label, texts map[string][]byte) {
	t.Helper()
	for _, file := range below(t, texts, "npm") {
		write(t, filepath.Join(root, "usr/lib/node_modules", file), texts["npm/"+file])
	}
}

func layOutJava(t *testing.T, root string, labels []label, texts map[string][]byte) {
	t.Helper()
	for _, l := range labels {
		var packed bytes.Buffer
		archive := zip.NewWriter(&packed)
		for _, file := range below(t, texts, "java/"+l.Name) {
			entry, err := archive.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := entry.Write(texts["java/"+l.Name+"/"+file]); err != nil {
				t.Fatal(err)
			}
		}
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, "usr/share/java", l.Name), packed.Bytes())
	}
}

// canonical spells an expression so that equal ones are the same text: neither the
// order of terms nor needless parentheses count, and of terms without an id of
// SPDX not the name.
func canonical(t *testing.T, expression string) string {
	t.Helper()
	if expression == "" || expression == "NOASSERTION" {
		return ""
	}
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression))
	text := joined(&words, "OR")
	if len(words) > 0 {
		t.Errorf("%q is no expression", expression)
	}
	return text
}

// joined reads terms with one operator between them; AND binds more than OR.
func joined(words *[]string, operator string) string {
	var terms []string
	for {
		read := single
		if operator == "OR" {
			read = func(words *[]string) string { return joined(words, "AND") }
		}
		term := read(words)
		inner, same := strings.CutPrefix(term, operator+"[")
		if same {
			terms = append(terms, strings.Split(strings.TrimSuffix(inner, "]"), "; ")...)
		} else {
			terms = append(terms, term)
		}
		if len(*words) == 0 || (*words)[0] != operator {
			break
		}
		*words = (*words)[1:]
	}
	slices.Sort(terms)
	if terms = slices.Compact(terms); len(terms) == 1 {
		return terms[0]
	}
	return operator + "[" + strings.Join(terms, "; ") + "]"
}

func single(words *[]string) string {
	next := func() string {
		if len(*words) == 0 {
			return ""
		}
		word := (*words)[0]
		*words = (*words)[1:]
		for _, own := range []string{"LicenseRef-", "AdditionRef-"} {
			if strings.HasPrefix(word, own) {
				return own
			}
		}
		return word
	}
	word := next()
	if word == "(" {
		text := joined(words, "OR")
		if next() != ")" {
			*words = []string{"unclosed"}
		}
		return text
	}
	if len(*words) > 0 && (*words)[0] == "WITH" {
		next()
		return word + " WITH " + next()
	}
	return word
}

// Who compares must be strict where it counts, and only there.
func TestCanonical(t *testing.T) {
	same := [][2]string{
		{"A OR B AND C", "(C AND B) OR A"},
		{"A OR (B OR C)", "C OR A OR B"},
		{"A WITH E AND B", "B AND (A WITH E)"},
		{"LicenseRef-x WITH AdditionRef-y", "LicenseRef-z WITH AdditionRef-w"},
		{"", "NOASSERTION"},
	}
	for _, pair := range same {
		if a, b := canonical(t, pair[0]), canonical(t, pair[1]); a != b {
			t.Errorf("%q is %s and %q is %s", pair[0], a, pair[1], b)
		}
	}
	other := [][2]string{
		{"A OR B", "A AND B"},
		{"A AND (B OR C)", "A AND B OR C"},
		{"A WITH E", "A"},
		{"GPL-2.0-only", "GPL-2.0-or-later"},
		{"LicenseRef-x", ""},
	}
	for _, pair := range other {
		if a, b := canonical(t, pair[0]), canonical(t, pair[1]); a == b {
			t.Errorf("%q and %q are both %s", pair[0], pair[1], a)
		}
	}
}
