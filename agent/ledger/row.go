package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"
)

// Kinds of rows.
const (
	KindStart     = "start"     // the daemon began to write; what happened before is not known
	KindStop      = "stop"      // it was stopped
	KindLost      = "lost"      // rows that could not be written and had to be dropped
	KindPruned    = "pruned"    // older rows go
	KindFlow      = "flow"      // what one flow moved in one hour
	KindFinding   = "finding"   // began, changed or was resolved
	KindHolding   = "holding"   // a program began or ceased to hold a store's data
	KindComponent = "component" // software came, changed or went
	KindProgram   = "program"   // something ran that had not run before
)

// Kinds lists them.
func Kinds() []string {
	return []string{KindStart, KindStop, KindLost, KindPruned, KindFlow, KindFinding, KindHolding, KindComponent, KindProgram}
}

// Row is one line of the log. Nothing of it is ever changed.
type Row struct {
	Seq  uint64
	Time time.Time // by the clock of the machine, to the millisecond; it may jump
	Kind string
	Body json.RawMessage
	Hash []byte // of this row and the hash before it
}

// digest is what a row is sealed with.
type digest [sha256.Size]byte

// canonical gives the bytes of a row that are hashed. Lengths come before what has
// one, so that no two rows have the same bytes.
func (r *Row) canonical() []byte {
	data := make([]byte, 0, 24+len(r.Kind)+len(r.Body))
	data = binary.BigEndian.AppendUint64(data, r.Seq)
	data = binary.BigEndian.AppendUint64(data, uint64(r.Time.UnixMilli()))
	for _, part := range [][]byte{[]byte(r.Kind), r.Body} {
		data = binary.BigEndian.AppendUint32(data, uint32(len(part)))
		data = append(data, part...)
	}
	return data
}

// after gives the hash of a row that follows another's.
func (r *Row) after(before digest) digest {
	return sha256.Sum256(append(before[:], r.canonical()...))
}

// seal is a signature over where the chain stands.
type seal struct {
	what      string // sealHead or sealStart
	seq       uint64
	hash      digest
	open      digest // of the hours that are not full yet; only of the head
	time      int64  // Unix time in milliseconds
	key       ed25519.PublicKey
	signature []byte
}

const (
	sealHead  = "head"  // of the last row
	sealStart = "start" // of the last row that was pruned
)

func (s *seal) message() []byte {
	data := []byte("cityward ledger 1 " + s.what + "\n")
	data = binary.BigEndian.AppendUint64(data, s.seq)
	data = append(data, s.hash[:]...)
	data = append(data, s.open[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(s.time))
	return append(data, s.key...)
}

func (s *seal) sign(key ed25519.PrivateKey) {
	s.key, _ = key.Public().(ed25519.PublicKey)
	s.signature = ed25519.Sign(key, s.message())
}

// sound reports whether the owner of a key signed it.
func (s *seal) sound(key ed25519.PublicKey) bool {
	return key.Equal(s.key) && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, s.message(), s.signature)
}
