package java

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// Bounds of one file, with all that is in it: whoever packed it claims what he
// likes about lengths and numbers.
const (
	sizeFile      = 2 << 30
	sizeDirectory = 8 << 20   // what may be read to list one archive
	sizeListed    = 64 << 20  // to list all of them
	sizeInner     = 32 << 20  // of an archive that must be unpacked to be read
	sizeHeld      = 48 << 20  // of those that are read at a time
	sizeUnpacked  = 256 << 20 // all in all
	sizeText      = 1 << 20   // of a manifest or a pom.xml
	mostInner     = 4096      // archives within, all in all
	deepest       = 4         // a library in a program in an application
	mostPoms      = 512       // of one archive
	mostFound     = 16 << 10  // libraries
)

var (
	errDirectory = errors.New("too many entries")
	errDeep      = errors.New("too deep")
	errBudget    = errors.New("too much within")
	errInner     = errors.New("an archive within it is damaged")
	errZip       = errors.New("not a valid archive")
)

// archive is what was read of a file.
type archive struct {
	components []inventory.Component
	cut        error // why not all archives within were read
}

func read(ctx context.Context, h *host.Host, texts *licence.Texts, file string) (archive, error) {
	f, err := h.Open(file)
	if err != nil {
		return archive{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return archive{}, err
	case info.Size() == 0: // a place kept for one
		return archive{}, nil
	case info.Size() > sizeFile:
		return archive{}, host.ErrTooLarge
	}
	return parse(ctx, texts, f, info.Size(), path.Base(file))
}

// parse reads an archive and those within it.
func parse(ctx context.Context, texts *licence.Texts, r io.ReaderAt, size int64, base string) (archive, error) {
	u := unpacking{ctx: ctx, texts: texts, left: sizeUnpacked, list: sizeListed, hold: sizeHeld}
	err := u.archive(r, size, base, 0)
	return archive{u.components, u.cut}, err
}

// unpacking is the work on one file.
type unpacking struct {
	ctx        context.Context
	texts      *licence.Texts
	left       int64 // bytes that may still be unpacked
	list, hold int64 // likewise, read for lists and held at a time
	inner      int   // archives within that were read
	components []inventory.Component
	cut        error
}

// archive reads one archive.
func (u *unpacking) archive(r io.ReaderAt, size int64, base string, depth int) error {
	allowed := min(sizeDirectory, u.list)
	listed := &metered{r: r, left: allowed}
	z, err := zip.NewReader(listed, size)
	u.list -= allowed - max(listed.left, 0)
	if err != nil {
		if listed.left <= 0 {
			return errDirectory
		}
		return errZip
	}
	listed.left = 1 << 62 // what follows has bounds of its own
	var d description
	var terms []*zip.File
	var about *zip.File
	for _, f := range z.File {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		switch {
		case f.Name == "META-INF/MANIFEST.MF":
			d.manifest = u.text(f)
		case strings.HasPrefix(f.Name, "META-INF/maven/"):
			if !d.maven(f.Name, func() []byte { return u.text(f) }) {
				u.cut = errBudget
			}
		case licence.File(f.Name) && strings.TrimPrefix(f.Name, "META-INF/") == path.Base(f.Name) && len(terms) < 2:
			terms = append(terms, f)
		case f.Name == "about.html": // where plug-ins of Eclipse have their terms
			about = f
		case packed(f.Name) && !strings.HasSuffix(f.Name, "/"):
			u.within(r, f, depth)
		}
	}
	found := d.components(base)
	if len(found) > 0 { // the last is the archive itself
		l := &found[len(found)-1].Licence
		if len(terms) == 0 && about != nil && licence.Open(*l) {
			terms = append(terms, about)
		}
		*l = u.complete(*l, terms, d.notice(base))
	}
	for i := range found {
		found[i].Licence = licence.Named(found[i].Licence, found[i].Name)
	}
	if len(u.components)+len(found) > mostFound {
		u.cut = errBudget
		return nil
	}
	u.components = append(u.components, found...)
	return nil
}

// complete heeds the texts of an archive, and where it states no licence that is
// known and has no text, the notice above its pom.
func (u *unpacking) complete(l inventory.Licence, files []*zip.File, notice []byte) inventory.Licence {
	if licence.Open(l) && len(files) == 0 && len(notice) > 0 {
		return u.texts.Complete(l, notice)
	}
	var texts [][]byte
	for _, f := range files {
		if text := u.text(f); len(text) > 0 {
			texts = append(texts, text)
		}
	}
	if l = u.texts.Complete(l, texts...); l == (inventory.Licence{}) && len(texts) > 0 {
		l.Source = licence.SourceText // in its maker's own words
	}
	return l
}

// text unpacks a small file; nil if it cannot be had.
func (u *unpacking) text(f *zip.File) []byte {
	if f.UncompressedSize64 > sizeText {
		u.cut = errBudget
		return nil
	}
	data, err := u.unpack(f, sizeText)
	if err != nil {
		u.cut = err
	}
	return data
}

// unpack reads at most limit bytes of a packed file, whatever length it claims.
func (u *unpacking) unpack(f *zip.File, limit int64) ([]byte, error) {
	limit = min(limit, u.left)
	r, err := f.Open()
	if err != nil {
		return nil, errInner
	}
	defer r.Close()
	data := bytes.NewBuffer(make([]byte, 0, min(int64(f.UncompressedSize64&(1<<62-1)), limit)+bytes.MinRead))
	n, err := data.ReadFrom(io.LimitReader(r, limit+1))
	u.left -= n
	switch {
	case n > limit:
		return nil, errBudget
	case err != nil:
		return nil, errInner
	}
	return data.Bytes(), nil
}

// within reads an archive within another. One that is only stored is read where
// it lies.
func (u *unpacking) within(outer io.ReaderAt, f *zip.File, depth int) {
	u.inner++
	switch {
	case depth+1 >= deepest:
		u.cut = errDeep
		return
	case u.inner > mostInner || f.UncompressedSize64 > sizeInner && f.Method != zip.Store:
		u.cut = errBudget
		return
	}
	var r io.ReaderAt
	size := int64(f.CompressedSize64)
	if f.Method == zip.Store {
		at, err := f.DataOffset()
		if err != nil || size < 0 {
			u.cut = errInner
			return
		}
		r = io.NewSectionReader(outer, at, size)
	} else {
		data, err := u.unpack(f, min(sizeInner, u.hold))
		if err != nil {
			u.cut = err
			return
		}
		held := int64(len(data))
		u.hold -= held
		defer func() { u.hold += held }()
		r, size = bytes.NewReader(data), int64(len(data))
	}
	if err := u.archive(r, size, path.Base(f.Name), depth+1); err != nil {
		u.cut = errInner
		if errors.Is(err, errDirectory) {
			u.cut = err
		}
	}
}

// metered reads not more than it was given.
type metered struct {
	r    io.ReaderAt
	left int64
}

func (m *metered) ReadAt(p []byte, off int64) (int, error) {
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, errDirectory
	}
	return m.r.ReadAt(p, off)
}
