package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

// places lists every key and element of a document as path=KEY/VALUE, where both
// are line:column.
func places(text string) []string {
	root, _, _ := locate(text)
	l := lines{text: text}
	at := func(offset int) string {
		line, column := l.at(offset)
		return fmt.Sprintf("%d:%d", line, column)
	}
	var list []string
	var walk func(path string, m *mark)
	walk = func(path string, m *mark) {
		if path != "" {
			list = append(list, path+"="+at(m.key)+"/"+at(m.value))
		}
		for key, child := range m.table {
			walk(path+"."+key, child)
		}
		for i, item := range m.items {
			walk(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
	walk("", root)
	slices.Sort(list)
	return list
}

func TestLocate(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"comment", "# a = 1", nil},
		{"bare", "a = 1\n  b-2_c\t=\t2 # c = 3", []string{".a=1:1/1:5", ".b-2_c=2:3/2:11"}},
		{"quoted", `"a b" = 1` + "\n" + `'c"d' = 2` + "\n" + `"" = 3`, []string{".=3:1/3:6", `.a b=1:1/1:9`, `.c"d=2:1/2:9`}},
		{"escaped", `"\u0061\t\"]" = 1`, []string{".a\t\"]=1:1/1:17"}},
		{"dotted", "a . b.'c' = 1\na.d = 2", []string{".a.b.c=1:7/1:13", ".a.b=1:5/1:5", ".a.d=2:3/2:7", ".a=1:1/1:1"}},
		{"table", "[a.b]\nc = 1\n[ a ]\nd = 2", []string{".a.b.c=2:1/2:5", ".a.b=1:4/1:4", ".a.d=4:1/4:5", ".a=1:2/1:2"}},
		{
			"array of tables", "[[a]]\nb = 1\n[a.c]\nd=1\n[[a]] # x\nb = 2",
			[]string{".a=1:3/1:3", ".a[0].b=2:1/2:5", ".a[0].c.d=4:1/4:3", ".a[0].c=3:4/3:4", ".a[0]=1:3/1:3", ".a[1].b=6:1/6:5", ".a[1]=5:3/5:3"},
		},
		{
			"array", "a = [ 1, # ] one\n  \"]\", [ '#' ],\n]\nb = []",
			[]string{".a=1:1/1:5", ".a[0]=1:7/1:7", ".a[1]=2:3/2:3", ".a[2]=2:8/2:8", ".a[2][0]=2:10/2:10", ".b=4:1/4:5"},
		},
		{
			"inline", "a = { b = 1, 'c'.d = [ {} ], e = '}' }\nf = 1",
			[]string{".a.b=1:7/1:11", ".a.c.d=1:18/1:22", ".a.c.d[0]=1:24/1:24", ".a.c=1:14/1:14", ".a.e=1:30/1:34", ".a=1:1/1:5", ".f=2:1/2:5"},
		},
		{
			"strings", `a = """` + "\n" + `x = 1 \""" "` + "\n" + `""""` + "\nb = '''\n'''''\nc = \"\\\\\"\nd = ''\ne = \"\"\nf = 1979-05-27 07:32:00Z",
			[]string{".a=1:1/1:5", ".b=4:1/4:5", ".c=6:1/6:5", ".d=7:1/7:5", ".e=8:1/8:5", ".f=9:1/9:5"},
		},
		{"columns are characters", "a = [\"é€😀\", 1]", []string{".a=1:1/1:5", ".a[0]=1:6/1:6", ".a[1]=1:13/1:13"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var values map[string]any
			if _, err := toml.Decode(tt.text, &values); err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(tt.want)
			slices.Sort(want)
			if got := places(tt.text); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestLocateDepth(t *testing.T) {
	for _, text := range []string{
		"a = " + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
		"[" + strings.Repeat("a.", maxDepth-1) + "a]",
	} {
		if _, _, ok := locate(text); !ok {
			t.Errorf("%.20s…: refused at the limit", text)
		}
	}
	for _, text := range []string{
		"a = " + strings.Repeat("[", 1<<20),
		"a = " + strings.Repeat("{a=", 1<<18),
		strings.Repeat("a.", 1<<18),
	} {
		if _, _, ok := locate(text); ok {
			t.Errorf("%.20s…: not refused", text)
		}
	}
}

// FuzzLocate holds the scan to the library: whatever the library reads has its
// place, and at that place stands a value of its kind.
func FuzzLocate(f *testing.F) {
	seed(f)
	f.Add("a=[{b.c=1,'d'={}},[],\"\"\"\n\"\"\"\"\"]\n[[e.f]]\n[e.f.g]\nh=1.5e3\n[[e.f]]")
	f.Add("a = [ }")
	f.Add("a = { ]")
	f.Add("\"\\e\" = 1\n'''=")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		root, deep, ok := locate(text)
		if !ok {
			if deep < 0 || deep > len(text) {
				t.Fatalf("too deep at %d of %d", deep, len(text))
			}
			return
		}
		var values map[string]any
		if strings.HasPrefix(text, "\xfe\xff") || strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\ufeff") {
			return // the library steps over these marks; open knows the last
		}
		if _, err := toml.Decode(text, &values); err != nil {
			return
		}
		samePlaces(t, text, "", values, root)
	})
}

// samePlaces fails unless m has exactly the keys and elements of raw.
func samePlaces(t *testing.T, text, path string, raw any, m *mark) {
	t.Helper()
	if m == nil {
		t.Fatalf("%s has no place", path)
	}
	if path != "" && (m.value < 0 || m.value >= len(text) || m.key < 0 || m.key > m.value) {
		t.Fatalf("%s stands at %d and %d of %d", path, m.key, m.value, len(text))
	}
	switch raw := raw.(type) {
	case map[string]any:
		if len(raw) != len(m.table) {
			t.Fatalf("%s has %d keys and %d places", path, len(raw), len(m.table))
		}
		for key, v := range raw {
			samePlaces(t, text, path+"."+key, v, m.table[key])
		}
	case []any:
		if len(raw) != len(m.items) {
			t.Fatalf("%s has %d elements and %d places", path, len(raw), len(m.items))
		}
		for i, v := range raw {
			samePlaces(t, text, fmt.Sprintf("%s[%d]", path, i), v, m.items[i])
		}
	case []map[string]any:
		if len(raw) != len(m.items) {
			t.Fatalf("%s has %d tables and %d places", path, len(raw), len(m.items))
		}
		for i, v := range raw {
			samePlaces(t, text, fmt.Sprintf("%s[%d]", path, i), v, m.items[i])
		}
	default:
		begin := map[string]string{
			"string": `"'`, "int64": "+-0123456789", "float64": "+-0123456789in", "bool": "tf", "time": "0123456789",
		}[typeName(raw)]
		if !strings.ContainsRune(begin, rune(text[m.value])) {
			t.Fatalf("%s is %v, and at its place stands %.10q", path, raw, text[m.value:])
		}
	}
}

func typeName(raw any) string {
	if _, ok := raw.(time.Time); ok {
		return "time"
	}
	return fmt.Sprintf("%T", raw)
}

// seed adds every file of testdata and the default.
func seed(f *testing.F) {
	f.Helper()
	f.Add(defaultText)
	for _, pattern := range []string{"testdata/good/*.toml", "testdata/broken/*.toml", "facts/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
}
