package licence

import (
	"bytes"

	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// ownTerms is the answer for a text in its maker's own words that restrict. Its
// name is that of its title, if it has one.
func ownTerms(text []byte, said string) Answer {
	a := Answer{Expression: title(text)}
	if proprietary(said) {
		a.Freedom = inventory.NonFree
	}
	return a
}

// title gives a reference named as the first lines of a text call its terms, "" if
// they do not.
func title(text []byte) string {
	const (
		mostLines = 6
		mostWords = 10
	)
	n := 0
	for line := range bytes.Lines(text) {
		line = bytes.Trim(line, " \t\r\n#*=-_/.:")
		if len(line) == 0 {
			continue
		}
		if n++; n > mostLines {
			break
		}
		words := split(line)
		if len(words) > mostWords || has(joined(words[:min(1, len(words))]), "copyright;permission;this;please;redistribution;the;by;by using;you") {
			continue
		}
		named, own := false, false
		for _, w := range words {
			switch w.text {
			case "license", "licence", "agreement", "terms", "eula":
				named = true
			case "software", "end", "user", "and", "conditions", "of", "use", "source", "file", "text":
			default:
				own = true
			}
		}
		if named && own {
			return spdx.Reference(string(line))
		}
	}
	return ""
}

// partsFrom gives the place of the paragraph that begins to list what of other
// makers is in a work, the end of the text without one.
func partsFrom(text []byte) int {
	return begins(text, "contains code from;contains a portion of;contains portions of;submodules taken from;patches that were taken from;third party content;"+
		"third party software;third party components;third party licenses;third party notices;third party code;"+
		"several files are distributed under;some code such;sources of intellectual property;libraries are included in;"+
		"this product bundles;this software bundles;bundled libraries;this software includes code from;incorporates code from")
}

// portionsFrom is partsFrom for portions of the work itself, too. What is said of
// those may restrict the whole.
func portionsFrom(text []byte) int {
	return min(partsFrom(text), begins(text, "subcomponents;some specific portions;certain portions of"))
}

// begins gives the place of the first paragraph but the first of all with one of the
// phrases among its first words, the end of the text without one.
func begins(text []byte, phrases string) int {
	at := 0
	for paragraph := range bytes.SplitAfterSeq(text, []byte("\n\n")) {
		words := split(paragraph[:min(len(paragraph), 400)])
		if at > 0 && has(joined(words[:min(len(words), 14)]), phrases) {
			return at
		}
		at += len(paragraph)
	}
	return len(text)
}

// The words that restrict, each list once and a phrase in one alone: those of a list
// also count where a later one is asked.
const (
	// Names of terms, and sentences, that no free licence has: they count in any text.
	plainWords = "commons clause;business source license;business source licence;server side public license;elastic license;polyform;" +
		"confluent community license;redis source available license;functional source license;sustainable use license;" +
		"non commercial use only;non commercial purposes only;personal use only;evaluation purposes only;end user license agreement;" +
		"end user licence agreement"

	// Words of end users' agreements. Free licences have some of them, so they count,
	// as do those below, only in what belongs to no known licence.
	agreementWords = "reverse engineer;reverse engineering;decompile;disassemble;proprietary and confidential;confidential and proprietary;trade secret;" +
		"trade secrets;licensed not sold;license fee;license fees;license key;non transferable;nontransferable;unauthorized copying;" +
		"unauthorised copying;may not copy;terms of service;strictly prohibited;may not redistribute;you may not rent;not sublicense;" +
		"for use only with;have to purchase;must purchase;need to purchase;purchase a commercial license;purchase commercial license;" +
		"research use only;may only be exercised to;competitive with this software;can only be used with;" +
		"under no circumstances can you use;unmodified only;non commercial purposes provided"

	// Words that take back what free software must grant.
	limitWords = "non commercial;noncommercial;not for commercial;no commercial;commercial use is prohibited;commercial use is not;" +
		"commercial use requires;may not be used commercially;for personal use;research purposes only;educational purposes only;" +
		"internal business purposes;evaluation only;evaluation purposes;for evaluation;trial period;may not be modified;may not modify;" +
		"not be altered;no modification;no modifications;modification is prohibited;modification is not;modifications are not permitted;" +
		"without modification only;not redistribute;not be redistributed;redistribution is prohibited;redistribution is not permitted;" +
		"redistribution not permitted;no redistribution;may not distribute;not be distributed;may not sell;not be sold;may not resell;" +
		"sold for profit;derivative works are not;no derivative;no derivatives;non production;production use;may only be used;" +
		"may be used only;use only;only with;for use with;terminates;not authorized;not authorised;customer;customers;licensee;licensees;" +
		"subscription;you agree;license agreement;licence agreement;proprietary;for a fee;hosted or managed service;competing product;" +
		"compete with"

	// Words that ask for something or forbid it, however few they are: a sentence of
	// its own beside a known text can take all of that back. Names, years and titles
	// have none of them.
	demandWords = "must not;you must;must obtain;must buy;must ask;must get;must have;must contact;shall not;shall be used;forbidden;prohibited;" +
		"excluded;withheld;disallowed;pay;paid;payment;purchase;evil;military;companies;employees;students;non profit;nonprofit;" +
		"natural persons;requires a;require a;needs a;need a;not permitted;not allowed;is permitted only;only be used;this grant;" +
		"this permission ends;no part;n o n;not sell;to sell is;free for;free to use for;commercial use;commercial users;" +
		"commercial purposes;separate permission;separate licence;separate license;verboten;untersagt;nicht gestattet;nur für;" +
		"ausschließlich;interdit;interdite;interdits;uniquement;prohibida;prohibido;vietato;vietata;solo para"
)

// plain reports whether words name terms that restrict, whatever else they say.
func plain(said string) bool { return has(said, plainWords) }

// proprietary reports whether words make an end users' agreement.
func proprietary(rest string) bool { return plain(rest) || has(rest, agreementWords) }

// restricts reports whether words are terms that are not free.
func restricts(rest string) bool { return proprietary(rest) || has(rest, limitWords) }

// demands reports whether words beside a free licence may take it back.
func demands(rest string) bool { return restricts(rest) || has(rest, demandWords) }
