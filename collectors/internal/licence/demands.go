package licence

// demands reports whether words that belong to no known licence ask for something
// or forbid it, however few they are: a sentence of its own beside a known text can
// take all of that back. Names, years and titles have none of these words.
func demands(rest string) bool {
	return has(rest, "must not;you must;must obtain;must pay;must buy;must ask;must get;must have;must contact;shall not;shall be used;forbidden;prohibited;excluded;withheld;disallowed;pay;paid;payment;purchase;evil;military;companies;employees;students;"+
		"non profit;nonprofit;natural persons;requires a;require a;needs a;need a;not permitted;not allowed;is permitted only;only be used;"+
		"this grant;this permission ends;no part;n o n;not sell;to sell is;free for;free to use for;commercial use;commercial users;commercial purposes;"+
		"separate permission;separate licence;separate license;paid licence;paid license;"+
		"verboten;untersagt;nicht gestattet;nur für;ausschließlich;interdit;interdite;interdits;uniquement;prohibida;prohibido;vietato;vietata;solo para")
}
