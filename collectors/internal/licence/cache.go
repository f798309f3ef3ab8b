package licence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cityward/collectors/inventory"
)

const (
	fileCache = "licences.cache"

	// rules names what answers depend on. It must change whenever a text may give
	// another answer than before: then the old file counts for nothing.
	rules = "cityward licences, licensecheck 0.3.1, SPDX 3.29.0, rules 3"

	mostAnswers   = 16 << 10
	mostLine      = 1 << 10
	sizeCacheFile = 8 << 20
)

type key [sha256.Size]byte

// cache keeps answers by the hash of their text. Its file has a line that names
// the rules, a line for each answer, and a last line with the hash of all before.
type cache struct {
	dir     string
	answers map[key]Answer
	dirty   bool
}

// newCache reads the file of a directory; one that is not whole gives nothing.
func newCache(dir string) cache {
	c := cache{dir: dir, answers: make(map[key]Answer)}
	if dir == "" {
		return c
	}
	file := filepath.Join(dir, fileCache)
	if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() {
		return c
	}
	f, err := os.Open(file)
	if err != nil {
		return c
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, sizeCacheFile))
	if answers, ok := parseCache(text); ok && err == nil {
		c.answers = answers
	}
	return c
}

// parseCache reads the content of the file and reports whether it is whole and of
// these rules.
func parseCache(text []byte) (map[key]Answer, bool) {
	body, sum, ok := bytes.Cut(text, []byte("\nsum "))
	if want := sha256.Sum256(body); !ok || string(sum) != hex.EncodeToString(want[:])+"\n" {
		return nil, false
	}
	answers := make(map[key]Answer)
	for i, line := range strings.Split(string(body), "\n") {
		if i == 0 {
			if line != rules {
				return nil, false
			}
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		hash, err := hex.DecodeString(fields[0])
		if len(fields) != 3 || err != nil || len(hash) != sha256.Size || len(fields[1]) != 1 || len(answers) >= mostAnswers {
			return nil, false
		}
		freedom := inventory.Freedom(fields[1][0] - '0')
		if freedom > inventory.NonFree {
			return nil, false
		}
		answers[key(hash)] = Answer{Expression: fields[2], Freedom: freedom}
	}
	return answers, true
}

func (c *cache) get(k key) (Answer, bool) {
	a, known := c.answers[k]
	return a, known
}

// put keeps an answer. A full cache begins anew: that happens to a machine whose
// texts change for years, or to one that is fed with texts.
func (c *cache) put(k key, a Answer) {
	if len(a.Expression) > mostLine || strings.Contains(a.Expression, "\n") {
		return
	}
	if len(c.answers) >= mostAnswers {
		clear(c.answers)
	}
	c.answers[k], c.dirty = a, true
}

// save writes the file if there is something new. It is renamed into its place
// when it is whole, so of several writers one wins and no reader sees a part.
func (c *cache) save() error {
	if !c.dirty || c.dir == "" {
		return nil
	}
	c.dirty = false // one attempt for what is new: a full disk costs no round
	tmp, err := os.CreateTemp(c.dir, "."+fileCache+"-*")
	if err != nil {
		return fmt.Errorf("write cache of licences: %w", err)
	}
	_, err = tmp.Write(c.format())
	if err = errors.Join(err, tmp.Chmod(0o640), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(c.dir, fileCache))
	}
	if err != nil {
		return fmt.Errorf("write cache of licences: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// format gives the content of the file, the same for the same answers.
func (c *cache) format() []byte {
	lines := make([]string, 0, len(c.answers))
	for k, a := range c.answers {
		lines = append(lines, fmt.Sprintf("%x %d %s", k, a.Freedom, a.Expression))
	}
	slices.Sort(lines)
	body := strings.Join(append([]string{rules}, lines...), "\n")
	return fmt.Appendf(nil, "%s\nsum %x\n", body, sha256.Sum256([]byte(body)))
}
