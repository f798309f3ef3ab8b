package configs

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Names of what stands beside the configuration: the file of waivers, and the
// directory of the operator's own tables of facts.
const (
	WaiverFile     = "waivers.toml"
	FactsDirectory = "facts.d"
)

//go:embed cityward.toml
var defaultText string

// DefaultText is the annotated default: every key with its meaning.
func DefaultText() []byte { return []byte(defaultText) }

// Default is the configuration that holds where no file says otherwise.
func Default() *Config {
	cfg := defaults()
	cfg.ship()
	return cfg
}

func defaults() *Config {
	cfg := new(Config)
	if err := cfg.decode("cityward.toml", []byte(defaultText)); err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return cfg
}

// ship adds the tables of facts that checks judge by.
func (p *Policy) ship() {
	table, err := Substitutes()
	if err != nil {
		panic(err) // likewise
	}
	p.Substitutes = table
}

// Load reads a configuration file, and the waivers and tables of facts beside it.
// Its error holds every mistake of the configuration as [Errors]. A broken file
// beside it is no error: no waiver is honoured or no table used, and WaiverErr or
// FactsErr says why.
func Load(file string) (*Config, error) {
	return load(file, time.Now())
}

func load(file string, now time.Time) (*Config, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	cfg, err := Parse(file, data)
	if err != nil {
		return nil, err
	}
	cfg.loadWaivers(filepath.Join(filepath.Dir(file), WaiverFile), now)
	cfg.loadFacts(filepath.Join(filepath.Dir(file), FactsDirectory))
	return cfg, nil
}

func (p *Policy) loadWaivers(file string, now time.Time) {
	data, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		p.WaiverErr = fmt.Errorf("read waivers: %w", err)
		return
	}
	p.Waivers, p.WaiverErr = ParseWaivers(file, data, now)
}

// loadFacts reads the tables of a directory. Only files that end in .toml count,
// and one that is no table of ours is a mistake: nobody should think it is used.
func (p *Policy) loadFacts(directory string) {
	entries, err := os.ReadDir(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		p.FactsErr = fmt.Errorf("read facts: %w", err)
		return
	}
	for _, entry := range entries {
		file := filepath.Join(directory, entry.Name())
		switch {
		case filepath.Ext(file) != ".toml":
			continue
		case entry.Name() != "substitutes.toml":
			p.FactsErr = errors.Join(p.FactsErr, fmt.Errorf("read facts: %s is none of the tables that may be amended: substitutes.toml", file))
			continue
		}
		data, err := readFile(file)
		if err != nil {
			p.FactsErr = errors.Join(p.FactsErr, fmt.Errorf("read facts: %w", err))
			continue
		}
		table, err := ParseSubstitutes(file, data, p.Substitutes)
		if err != nil {
			p.FactsErr = errors.Join(p.FactsErr, err)
			continue
		}
		p.Substitutes = table
	}
}

// Parse reads a configuration, without waivers. What it does not say is as in
// the default. The name stands in errors.
func Parse(name string, data []byte) (*Config, error) {
	cfg := defaults()
	if err := cfg.decode(name, data); err != nil {
		return nil, err
	}
	cfg.ship()
	cfg.Source = name
	return cfg, nil
}

func (c *Config) decode(name string, data []byte) error {
	t, err := open(name, data)
	if err != nil {
		return err
	}
	c.read(t)
	c.lookup = newLookup(&c.Policy)
	return t.doc.errs.sorted()
}

// readFile reads a regular file, and one byte more than is allowed of one that is
// too large: to complain about the size is left to open, which knows how.
func readFile(file string) ([]byte, error) {
	// Opening a FIFO would wait for a writer, perhaps for ever.
	if info, err := os.Stat(file); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: file, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
