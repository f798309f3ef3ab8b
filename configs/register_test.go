package configs

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const register = `status,serial,uuid,name,site,disks
active,CZ3012ABCD,4C4C4544-0035-5910-8052-B4C04F4E3633,db1,"town hall, cellar",S5GXNX0W; S5GXNX1W;
,,11111111-2222-3333-4444-555555555555,vm7,data centre,
Retired, CZ3012ABCE ,,old,store,
`

func TestReadRegister(t *testing.T) {
	want := []Asset{
		{
			Serial: "CZ3012ABCD", UUID: "4c4c4544-0035-5910-8052-b4c04f4e3633", Name: "db1", Site: "town hall, cellar",
			Disks: []string{"S5GXNX0W", "S5GXNX1W"}, Status: StatusActive, Line: 2,
		},
		{UUID: "11111111-2222-3333-4444-555555555555", Name: "vm7", Site: "data centre", Status: StatusActive, Line: 3},
		{Serial: "CZ3012ABCE", Name: "old", Site: "store", Status: StatusRetired, Line: 4},
	}
	spreadsheet := "\ufeff" + strings.NewReplacer(",", ";", "\n", "\r\n", `"town hall, cellar"`, `"town hall, cellar"`, "S5GXNX0W; S5GXNX1W;", `"S5GXNX0W; S5GXNX1W;"`).Replace(register)
	for name, text := range map[string]string{"comma": register, "semicolon": spreadsheet} {
		r, err := ReadRegister(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(r.Assets, want) {
			t.Errorf("%s: got %+v\nwant %+v", name, r.Assets, want)
		}
	}
}

func TestReadRegisterMistakes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "1:1: is empty, want a first line that names the columns"},
		{
			"columns", "Serial,Seriall,serial,x\n",
			"1:8: \"seriall\" is no column of a register, did you mean serial?\n1:16: the column serial is there twice\n1:23: \"x\" is no column of a register",
		},
		{"no key", "name,site\na,b\n", "1:1: has neither a column serial nor a column uuid"},
		{
			"rows", "serial,uuid,disks,status\n" +
				"A1,,D1;D2,active\n" +
				"a1,,d2,\n" +
				",,,\n" +
				"To be filled by O.E.M.,00000000-0000-0000-0000-000000000000,,\n" +
				"B2,not-a-uuid,,lost\n" +
				"C3,,D9;D9\n" +
				"D4,\"\x07\",,\n",
			"3:1: serial: is in line 2 already\n" +
				"3:5: disks: the disk \"d2\" is in line 2 already\n" +
				"4:1: the row has neither a serial nor a uuid\n" +
				"5:1: serial: is a placeholder or malformed, and names no machine\n" +
				"5:24: uuid: is a placeholder or malformed, and names no machine\n" +
				"6:4: uuid: is a placeholder or malformed, and names no machine\n" +
				"6:16: status: \"lost\" is none of active, spare, retired\n" +
				"7:1: has 3 fields, want 4 as in the first line\n" +
				"8:4: uuid: holds characters that cannot be shown",
		},
		{"quote", "serial\n\"a\nb\n", "3:3: extraneous or missing \" in quoted-field"},
		{"latin1", "serial,site\nA1,Espa\xf1a\n", "2:4: site: holds characters that cannot be shown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ReadRegister(strings.NewReader(tt.text))
			var mistakes Errors
			if !errors.As(err, &mistakes) || err.Error() != tt.want || r.Assets != nil {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
	if _, err := ReadRegister(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader that fails: %v", err)
	}
	if _, err := ReadRegister(bytes.NewReader(make([]byte, maxRegister+1))); err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("a large register: %v", err)
	}
}

func TestRegisterMatch(t *testing.T) {
	r, err := ReadRegister(strings.NewReader(register))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ serial, uuid, want string }{
		{"CZ3012ABCD", "", "db1"},
		{" cz3012abcd\n", "", "db1"},
		{"CZ3012ABCD", "4c4c4544-0035-5910-8052-b4c04f4e3633", "db1"},
		{"CZ3012ABCD", "99999999-2222-3333-4444-555555555555", "db1"}, // its board was changed
		{"unregistered", "4C4C4544-0035-5910-8052-B4C04F4E3633", "db1"},
		{"", "11111111-2222-3333-4444-555555555555", "vm7"},
		{"None", "11111111-2222-3333-4444-555555555555", "vm7"},
		{"CZ3012ABCD", "11111111-2222-3333-4444-555555555555", ""}, // of two machines
		{"CZ3012ABCE", "", "old"},
		{"", "", ""},
		{"CZ3012", "", ""},
	}
	for _, tt := range tests {
		a, ok := r.Match(tt.serial, tt.uuid)
		if a.Name != tt.want || ok != (tt.want != "") {
			t.Errorf("%q, %q: %q, %v", tt.serial, tt.uuid, a.Name, ok)
		}
	}
	if _, ok := (Register{}).Match("CZ3012ABCD", ""); ok {
		t.Error("an empty register knows a machine")
	}
}

func TestPlaceholders(t *testing.T) {
	for _, s := range []string{"", " ", "0", "0000000000", "None", "none", "To be filled by O.E.M.", "to be filled by o.e.m.", "Not Specified", "Default string", "System Serial Number", "N/A", "xxxxxxxx", "........", "0123456789"} {
		if serialKey(s) != "" {
			t.Errorf("%q names a machine", s)
		}
	}
	for _, s := range []string{"", "0", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "03000200-0400-0500-0006-000700080009", "Not Settable"} {
		if uuidKey(s) != "" {
			t.Errorf("%q names a machine", s)
		}
	}
	if serialKey("NONE1") == "" || serialKey("10") == "" {
		t.Error("a serial number is taken for a placeholder")
	}
}

func FuzzReadRegister(f *testing.F) {
	f.Add(register)
	f.Add("serial;disks\nA;\"b;c\"\n")
	f.Add("uuid,serial\n,\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ReadRegister(strings.NewReader(text))
		if err != nil {
			var mistakes Errors
			if !errors.As(err, &mistakes) || r.Assets != nil {
				t.Fatalf("%T with %v", err, r)
			}
			return
		}
		for _, a := range r.Assets {
			if got, ok := r.Match(a.Serial, a.UUID); !ok || got.Line != a.Line {
				t.Fatalf("%+v is found as %+v, %v", a, got, ok)
			}
		}
	})
}
