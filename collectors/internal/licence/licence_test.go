package licence

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// shared is for all tests that do not look at loading itself.
var shared = New("")

const isc = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee
is hereby granted, provided that the above copyright notice and this permission notice appear in all copies.
THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
PERFORMANCE OF THIS SOFTWARE.
`

func TestClassify(t *testing.T) {
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	for _, test := range []struct {
		text, want string
		freedom    inventory.Freedom
	}{
		{"Copyright 2020 A. Maker\n\n" + isc, "ISC", free},
		{isc + "\nThis software may not be used for commercial purposes: for evaluation only.", "ISC", unknown},
		{isc + "\nYou may not redistribute it.", "ISC", unknown},
		{"Commons Clause License Condition v1.0\n" + isc, "ISC WITH AdditionRef-Commons-Clause", non},
		{strings.Repeat("what the program does and who made it in which year ", 40) + isc, "ISC", unknown},
		{"This library is distributed under the terms of the GNU Lesser General Public License; either version 3 of the License, or (at your option) any later version.", "LGPL-3.0-or-later", free},
		{"released under the terms of the GPL; see /usr/share/common-licenses/GPL-3", "GPL-3.0-only", free},
		{"licensed under version 2 or later of the GNU General Public License", "GPL-2.0-or-later", free},
		{"License: GPLv2+", "GPL-2.0-or-later", free},
		{"See the GNU General Public License version 2 for details.", "", unknown},
		{"you can redistribute it under the same terms as Perl itself", "Artistic-1.0-Perl OR GPL-1.0-or-later", free},
		{"It is in the public domain.", "LicenseRef-public-domain", free},
		{"covered by the GPL version 2. In addition, as a special exception, you may link it with OpenSSL", "GPL-2.0-only WITH AdditionRef-OpenSSL-exception", free},
		{"See /usr/share/common-licenses/Apache-2.0", "Apache-2.0", unknown},
		{"to copy, modify, and make non-production use of the Licensed Work", "BUSL-1.1", non},
		{"Server Side Public License\nVERSION 1, OCTOBER 16, 2018", "SSPL-1.0", non},
		{"You may not provide the software to third parties as a hosted or managed service", "Elastic-2.0", non},
		{"# PolyForm Shield License 1.0.0", "LicenseRef-PolyForm-Shield", non},
		{"Confluent Community License Agreement\nVersion 1.0", "LicenseRef-Confluent-Community-1.0", non},
		{"Redis Source Available License 2.0 (RSALv2) Agreement", "LicenseRef-RSALv2", non},
		{"Redis Source Available License Agreement", "LicenseRef-RSALv1", non},
		{"License For Customer Use of NVIDIA Software", "LicenseRef-NVIDIA", non},
		{"Oracle Binary Code License Agreement", "LicenseRef-Oracle", non},
		{"MICROSOFT SOFTWARE LICENSE TERMS", "LicenseRef-Microsoft", non},
		{"Dual-licensed under the terms of the MPL or the LGPL: the Mozilla Public License version 1.1 or the GNU LGPL version 2.1.", "MPL-1.1 OR LGPL-2.1-only", free},
		{"You may take it under the terms of the GNU GPL version 2 or later, or under a commercial license of Acme.", "GPL-2.0-or-later OR LicenseRef-Commercial", free},
		{isc + "\nPermission for Acme alone, see above.\n\nContains code from others, licensed under the GPL version 2.", "ISC", free},
		{"Acme Tools\n\nFor use only with products of Acme.\n\nContains code from others:\n\n" + isc, "", non},
		{"Acme License Agreement\n\nYou may not reverse engineer the Software.", "LicenseRef-Acme-License-Agreement", non},
		{"License Agreement\n\nYou may not reverse engineer the Software.", "", non},
		{"a copy of LGPL version 3; This is licensed under the GPL version 2, under certain conditions as described in each individual source file, as a special exception", "GPL-2.0-only WITH cryptsetup-OpenSSL-exception", free},
		{"All rights reserved. You may not copy it and may not redistribute it.", "", non},
		{"All rights reserved.", "", unknown},
		{"", "", unknown},
	} {
		if got := shared.Classify([]byte(test.text)); got.Expression != test.want || got.Freedom != test.freedom {
			t.Errorf("%.60q: got %+v, want %q, %v", test.text, got, test.want, test.freedom)
		}
	}
	if got := shared.Classify(make([]byte, MostText+1)); got != (Answer{}) {
		t.Errorf("too long: %+v", got)
	}
}

// Every pattern for non-free terms gives an id that is non-free.
func TestOwnPatterns(t *testing.T) {
	for pattern, phrases := range ownPatterns() {
		id := spdxID(pattern)
		if id == "" {
			continue
		}
		expression, want := spdx.Expression(id)
		for _, phrase := range phrases {
			phrase = strings.NewReplacer("__3__", "licensed", "__12__", "URL").Replace(phrase)
			if got := shared.Classify([]byte(phrase)); got.Expression != expression || want == inventory.NonFree && got.Freedom != want {
				t.Errorf("%q: got %+v, want %s, %v", phrase, got, expression, want)
			}
		}
	}
}

func TestCacheOutlivesRestart(t *testing.T) {
	dir := t.TempDir()
	first := New(dir)
	want := first.Classify([]byte(isc))
	if err := first.Rest(); err != nil || first.scanner != nil {
		t.Fatal(err, first.scanner)
	}
	second := New(dir)
	if got := second.Classify([]byte(isc)); got != want || second.scanner != nil {
		t.Errorf("got %+v, want %+v; patterns loaded: %t", got, want, second.scanner != nil)
	}
	file := filepath.Join(dir, fileCache)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]string{
		"cut":            string(whole[:len(whole)/2]),
		"changed":        strings.Replace(string(whole), "ISC", "MIT", 1),
		"of other rules": strings.Replace(string(whole), "rules 3", "rules 0", 1),
		"empty":          "",
	} {
		if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := newCache(dir); len(c.answers) != 0 {
			t.Errorf("%s: it gives %d answers", name, len(c.answers))
		}
	}
}

func TestCacheConcurrently(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c := newCache(dir)
			for j := range 200 {
				c.put(key(sha256.Sum256([]byte{byte(i), byte(j)})), Answer{Expression: "MIT", Freedom: inventory.Free})
				if err := c.save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if c := newCache(dir); len(c.answers) < 200 {
		t.Errorf("%d answers", len(c.answers))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache("")
	for i := range mostAnswers + 10 {
		c.put(key(sha256.Sum256([]byte{byte(i), byte(i >> 8)})), Answer{})
	}
	if len(c.answers) > mostAnswers {
		t.Errorf("%d answers", len(c.answers))
	}
}

func TestSaveSaysWhy(t *testing.T) {
	c := newCache(filepath.Join(t.TempDir(), "none"))
	c.put(key{}, Answer{})
	if err := c.save(); err == nil {
		t.Error("a directory that is not there is no error")
	}
}

func TestFile(t *testing.T) {
	for name, want := range map[string]bool{
		"LICENSE": true, "licence.txt": true, "LICENSE-MIT": true, "COPYING.LIB": true, "license.js": false, "licensing": false, "README": false,
	} {
		if File(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

func TestComplete(t *testing.T) {
	stated := inventory.Licence{Declared: "MIT", Expression: "MIT", Source: "package.json", Freedom: inventory.Free}
	if got := shared.Complete(stated, []byte("MICROSOFT SOFTWARE LICENSE TERMS")); got != stated {
		t.Errorf("a statement is overruled: %+v", got)
	}
	against := stated
	against.Freedom = inventory.FreedomUnknown
	if got := shared.Complete(stated, []byte(isc), []byte("Redis Source Available License Agreement")); got != against {
		t.Errorf("a text against a statement: %+v", got)
	}
	got := shared.Complete(inventory.Licence{Declared: "SEE LICENSE IN LICENSE"}, []byte(isc))
	if want := (inventory.Licence{Declared: "SEE LICENSE IN LICENSE", Expression: "ISC", Source: SourceText, Freedom: inventory.Free}); got != want {
		t.Errorf("got %+v", got)
	}
	if got := shared.Complete(inventory.Licence{}, []byte(isc), []byte("MICROSOFT SOFTWARE LICENSE TERMS")); got.Expression != "" || got.Freedom != inventory.FreedomUnknown {
		t.Errorf("two texts that differ: %+v", got)
	}
}

func TestNamed(t *testing.T) {
	const free, unknown, non = inventory.Free, inventory.FreedomUnknown, inventory.NonFree
	for _, test := range []struct {
		declared string
		freedom  inventory.Freedom
		want     string
		then     inventory.Freedom
	}{
		{"BSD", free, "LicenseRef-BSD", free},
		{"Commercial", unknown, "LicenseRef-Commercial", non},
		{"SEE LICENSE IN LICENSE", unknown, "LicenseRef-acme", unknown},
		{"https://acme.example/terms", non, "LicenseRef-acme", non},
		{"", non, "LicenseRef-acme", non},
		{"", unknown, "", unknown},
	} {
		got := Named(inventory.Licence{Declared: test.declared, Freedom: test.freedom}, "acme")
		if got.Expression != test.want || got.Freedom != test.then {
			t.Errorf("%q: got %+v", test.declared, got)
		}
	}
}

func TestGrant(t *testing.T) {
	for text, want := range map[string]string{
		"under the terms of the GNU GPL; either version 2.1 or, at your option, any later version": "",
		"licensed under the GNU LGPL, either version 2.1 or, at your option, any later version":    "LGPL-2.1-or-later",
		"See /usr/share/common-licenses/GPL-2.":                                                    "",
		"It is licensed under the GPL.":                                                            "",
	} {
		if got := Grant([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, text := range []string{isc, "under the GPL version 2 or later", "common licenses GPL-2", "\u0130 GNU", "gpl" + strings.Repeat(" gpl", 50)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := shared.Classify([]byte(text))
		if again, _ := spdx.Expression(a.Expression); again != a.Expression {
			t.Errorf("%q is no expression", a.Expression)
		}
		if a.Expression == "" && a.Freedom == inventory.Free {
			t.Error("free without a licence")
		}
	})
}

func FuzzCache(f *testing.F) {
	c := newCache("")
	c.put(key{1}, Answer{Expression: "MIT", Freedom: inventory.Free})
	f.Add(c.format())
	f.Fuzz(func(t *testing.T, text []byte) {
		if answers, ok := parseCache(text); ok {
			c := cache{answers: answers}
			if again, ok := parseCache(c.format()); !ok || len(again) != len(answers) {
				t.Error("what was read cannot be written")
			}
		}
	})
}

// BenchmarkTexts compares what a text costs at first, with the patterns at hand,
// and when it is known. The first also says what the patterns hold in memory.
func BenchmarkTexts(b *testing.B) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			t := New("")
			t.Classify([]byte(isc))
			b.ReportMetric(float64(heap()-before)/(1<<20), "MB-held")
			if err := t.Rest(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(int64(heap())-int64(before))/(1<<20), "MB-after")
		}
	})
	b.Run("scan", func(b *testing.B) {
		text := []byte(strings.Repeat(isc, 8))
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			clear(shared.cache.answers)
			shared.Classify(text)
		}
	})
	b.Run("known", func(b *testing.B) {
		text := []byte(strings.Repeat(isc, 8))
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			shared.Classify(text)
		}
	})
}

// One sentence beside a known text can take all of it back.
func TestSentencesThatRestrict(t *testing.T) {
	apache, err := os.ReadFile("/usr/share/common-licenses/Apache-2.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Copyright 2020 A. Maker\n\n" + isc, string(apache)} {
		if a := shared.Classify([]byte(text + "\nMore is at https://example.org/licence.\n")); a.Freedom != inventory.Free {
			t.Errorf("%.40q is %+v", text, a)
		}
		for _, rider := range []string{
			"The Software may be used by natural persons only. Companies need a written permit from the author.",
			"Use by government agencies requires a paid licence from Acme GmbH.",
			"This software is free for non-profit organisations. All others must pay.",
			"You must not use this software to provide services to third parties.",
			"The Software shall be used for Good, not Evil.",
			"Use of this software in any military or nuclear context is forbidden.",
			"Companies with more than 50 employees have to ask before.",
			"Additional condition: you must not host this software for others.",
			"The right to Sell is withheld.",
			"This grant ends after thirty days.",
			"Nutzung nur für nicht kommerzielle Zwecke gestattet. Weitergabe verboten.",
			"Utilisation commerciale interdite sans accord écrit de l'auteur.",
			"Solo para uso personal; prohibida su venta.",
			"Free to use for teachers.",
			"Source code is provided for reference; modification is forbidden.",
			"No part may be reproduced.",
		} {
			for _, whole := range []string{text + "\n" + rider + "\n", rider + "\n\n" + text} {
				if a := shared.Classify([]byte(whole)); a.Freedom == inventory.Free {
					t.Errorf("%s is free although it says %q", a.Expression, rider)
				}
			}
		}
	}
}

// A maker's word does not stand against the text beside it.
func TestContradicted(t *testing.T) {
	const clause = "\"Commons Clause\" License Condition v1.0\n\nThe Software is provided to you by the Licensor under the License, as defined below.\n"
	mit := inventory.Licence{Declared: "MIT", Expression: "MIT", Source: "package.json", Freedom: inventory.Free}
	choice := inventory.Licence{Expression: "MIT OR Elastic-2.0", Freedom: inventory.Free}
	for _, test := range []struct {
		l    inventory.Licence
		text string
		want inventory.Freedom
	}{
		{mit, "The MIT License\n\nPermission is hereby granted, free of charge", inventory.Free},
		{mit, clause, inventory.FreedomUnknown},
		{mit, "MIT, for non-commercial use only", inventory.FreedomUnknown},
		{choice, "Elastic License 2.0", inventory.Free},
		{inventory.Licence{Expression: "MIT OR Ruby", Freedom: inventory.Free}, "Elastic License 2.0", inventory.FreedomUnknown},
		{inventory.Licence{Expression: "BUSL-1.1", Freedom: inventory.NonFree}, clause, inventory.NonFree},
	} {
		if got := contradicted(test.l, []byte(test.text)); got.Freedom != test.want || got.Expression != test.l.Expression {
			t.Errorf("%s beside %q: %+v", test.l.Expression, test.text, got)
		}
	}
}

// Each phrase is written once, and none holds another that would have counted.
func TestWordsStandOnce(t *testing.T) {
	var before []string
	for _, list := range []string{plainWords, agreementWords, limitWords, demandWords} {
		own := strings.Split(list, ";")
		for i, phrase := range own {
			others := slices.Concat(before, own[:i], own[i+1:])
			if has(" "+phrase+" ", strings.Join(others, ";")) {
				t.Errorf("%q counts by another phrase", phrase)
			}
			if words := joined(split([]byte(phrase))); words != " "+phrase+" " {
				t.Errorf("%q is never found: its words are %q", phrase, words)
			}
		}
		before = append(before, own...)
	}
}
