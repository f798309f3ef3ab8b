// Package licence reads the texts of licences: which ones a text has, and whether
// what they allow together is free.
//
// It is for texts that nothing else explains. The patterns are those of
// github.com/google/licensecheck and, for what that lacks, our own; to load them
// takes about a second and 100 MB, so they are loaded with the first text that is
// not known, and dropped by [Texts.Rest] once a round has ended. What was
// concluded is kept by the hash of the text, in memory and in a file of the state
// directory, so that neither the next round nor the next start pays again.
//
// A text that is not free must never be called free. So free is only a text of
// which every licence that was found is free and whose remainder is small or says
// nothing that restricts; everything else is unknown, or non-free where the terms
// of a known non-free licence are there.
package licence

import (
	"crypto/sha256"
	"runtime/debug"
	"sync"

	"github.com/google/licensecheck"

	"cityward/collectors/inventory"
)

// MostText bounds a text, in bytes. Of a longer one nothing is concluded.
const MostText = 2 << 20

// Answer is what a text says.
type Answer struct {
	Expression string // SPDX expression of the main licence, "" if none was found
	Freedom    inventory.Freedom
}

// Texts reads texts. It is safe for concurrent use.
type Texts struct {
	mu      sync.Mutex
	scanner *licensecheck.Scanner // nil while no text needs it
	cache   cache
}

// New returns a reader that keeps what it concludes in a file of a directory, ""
// for memory alone. A file that is missing or damaged costs time only.
func New(dir string) *Texts { return &Texts{cache: newCache(dir)} }

// Classify concludes from a text.
func (t *Texts) Classify(text []byte) Answer {
	if len(text) == 0 || len(text) > MostText {
		return Answer{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key(sha256.Sum256(text))
	if a, known := t.cache.get(k); known {
		return a
	}
	if t.scanner == nil {
		scanner, err := newScanner()
		if err != nil {
			return Answer{} // the patterns are constant and tested
		}
		t.scanner = scanner
	}
	a := conclude(text, t.scanner.Scan(text).Match)
	t.cache.put(k, a)
	return a
}

// Rest frees the patterns and writes what is new to the state directory. It is
// called between rounds. The error of the file is for the log: without the file
// the next start takes longer.
func (t *Texts) Rest() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.scanner != nil {
		t.scanner = nil
		debug.FreeOSMemory()
	}
	return t.cache.save()
}
