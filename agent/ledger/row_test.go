package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// decode is the inverse of canonical: that there is one shows that no two rows
// have the same bytes.
func decode(data []byte) (*Row, error) {
	if len(data) < 16 {
		return nil, errors.New("too short")
	}
	r := &Row{Seq: binary.BigEndian.Uint64(data), Time: time.UnixMilli(int64(binary.BigEndian.Uint64(data[8:])))}
	data = data[16:]
	for _, part := range []*[]byte{new([]byte), (*[]byte)(&r.Body)} {
		if len(data) < 4 || uint32(len(data)-4) < binary.BigEndian.Uint32(data) {
			return nil, errors.New("too short")
		}
		n := binary.BigEndian.Uint32(data)
		*part, data = data[4:4+n], data[4+n:]
		if part != (*[]byte)(&r.Body) {
			r.Kind = string(*part)
		}
	}
	if len(data) > 0 {
		return nil, errors.New("too long")
	}
	return r, nil
}

func FuzzCanonical(f *testing.F) {
	f.Add((&Row{Seq: 1, Time: now(), Kind: KindFlow, Body: []byte(`{"a":1}`)}).canonical())
	f.Add((&Row{Seq: 1<<64 - 1, Time: time.UnixMilli(-1)}).canonical())
	f.Add([]byte("hostile"))
	f.Fuzz(func(t *testing.T, data []byte) {
		row, err := decode(data)
		if err != nil {
			return
		}
		if again := row.canonical(); !bytes.Equal(again, data) {
			t.Errorf("%x is read as %+v, which is written %x", data, row, again)
		}
	})
}

func FuzzParseFlow(f *testing.F) {
	f.Add([]byte(`{"hour":"2026-03-01T12:00:00Z","program":{"executable":"/usr/bin/curl"},"remote":{"address":"203.0.113.7","port":443},"sent_bytes":1}`))
	f.Add([]byte(`{"dropped":"too many"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		flow, err := parseFlow(data)
		if err != nil {
			return
		}
		again, err := parseFlow(encode(flow))
		if err != nil {
			t.Fatal(err)
		}
		one, _ := json.Marshal(flow)
		two, _ := json.Marshal(again)
		if len(one) < maxBody && !bytes.Equal(one, two) {
			t.Errorf("%s is read back as %s", one, two)
		}
		var sums flowSums
		sums.add(flow)
		sums.add(again)
		if len(sums.flows) != 1 {
			t.Errorf("%s twice gives %d sums", data, len(sums.flows))
		}
	})
}

func FuzzClip(f *testing.F) {
	f.Add("\xff\x00")
	f.Fuzz(func(t *testing.T, text string) {
		var back string
		if err := json.Unmarshal(encode(clip(text)), &back); err != nil || back != clip(text) || len(back) > maxText+3 {
			t.Errorf("%q is read back as %q, %v", clip(text), back, err)
		}
		if clip(clip(text)) != clip(text) && len(text) <= maxText {
			t.Errorf("%q is clipped twice", text)
		}
	})
}
