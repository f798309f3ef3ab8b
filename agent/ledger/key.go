package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Files in the state directory.
const (
	dbFile     = "ledger.db"
	keyFile    = "ledger.key" // seed of the private key, for the daemon alone
	publicFile = "ledger.pub" // for whoever verifies
)

// loadKey reads the key of this machine, or makes it.
func loadKey(dir string) (ed25519.PrivateKey, error) {
	file := filepath.Join(dir, keyFile)
	seed, err := readKey(file, ed25519.SeedSize)
	if errors.Is(err, fs.ErrNotExist) {
		seed = make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(seed) // never fails
		err = writeKey(file, seed, 0o600)
	}
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	public, _ := key.Public().(ed25519.PublicKey)
	if there, err := readKey(filepath.Join(dir, publicFile), ed25519.PublicKeySize); err == nil && public.Equal(ed25519.PublicKey(there)) {
		return key, nil
	}
	return key, writeKey(filepath.Join(dir, publicFile), public, 0o644)
}

// PublicKey reads the key that a state directory's ledger is verified by.
func PublicKey(dir string) (ed25519.PublicKey, error) {
	return readKey(filepath.Join(dir, publicFile), ed25519.PublicKeySize)
}

// ParsePublicKey reads a key in the form of [FormatKey].
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	return parseKey(text, ed25519.PublicKeySize)
}

// FormatKey gives a public key as one word, for people to note down.
func FormatKey(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }

func parseKey(text string, size int) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != size {
		return nil, fmt.Errorf("parse key: want %d bytes in base64", size)
	}
	return key, nil
}

func readKey(file string, size int) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := parseKey(string(data), size)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", file, err)
	}
	return key, nil
}

// writeKey puts a key in its place whole, or not at all.
func writeKey(file string, key []byte, mode fs.FileMode) error {
	draft := file + ".new"
	_ = os.Remove(draft) // of an earlier attempt
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write key: %w", err), os.Remove(draft))
	}
	if err := os.Rename(draft, file); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

// lockDir makes sure that no other daemon writes here: two would fork the chain.
// The lock goes with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another daemon writes there")
		}
		return nil, errors.Join(fmt.Errorf("lock state directory %s: %w", dir, err), f.Close())
	}
	return f, nil
}
