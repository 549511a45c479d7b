package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// Source is a statement that can be read from its beginning.
type Source struct {
	ID    string // the same for the same bytes: a hash of them
	Lines int    // for a progress bar

	r     io.ReadSeeker
	close func() error
}

// FromBytes makes a source of a statement in memory.
func FromBytes(data []byte) (*Source, error) {
	return newSource(bytes.NewReader(data), func() error { return nil })
}

// FromFile makes a source of the file at path.
func FromFile(path string) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		err = fmt.Errorf("%s is a folder, not a statement", path)
	case err == nil && !info.Mode().IsRegular():
		defer f.Close() //nolint:errcheck // it was only read
		return Spool(f) // a pipe can be read only once
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return newSource(f, f.Close)
}

// Spool makes a source of what can be read only once, by a temporary file: the
// hash of the whole statement must be known before its first line is booked.
func Spool(r io.Reader) (*Source, error) {
	f, err := os.CreateTemp("", "statement-*.csv")
	if err != nil {
		return nil, err
	}
	remove := func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }
	if _, err := io.Copy(f, r); err != nil {
		return nil, errors.Join(err, remove())
	}
	return newSource(f, remove)
}

func newSource(r io.ReadSeeker, closer func() error) (*Source, error) {
	s := &Source{r: r, close: closer}
	hash := sha256.New()
	lines := &lineCounter{}
	if err := s.rewind(); err != nil {
		return nil, errors.Join(err, closer())
	}
	if _, err := io.Copy(io.MultiWriter(hash, lines), r); err != nil {
		return nil, errors.Join(err, closer())
	}
	const enough = 12 // bytes of the hash; two statements with the same are not to be expected
	s.ID, s.Lines = "stmt-"+hex.EncodeToString(hash.Sum(nil)[:enough]), lines.n
	return s, nil
}

// Open returns the statement from its beginning.
func (s *Source) Open() (io.Reader, error) {
	if err := s.rewind(); err != nil {
		return nil, err
	}
	return s.r, nil
}

func (s *Source) rewind() error {
	_, err := s.r.Seek(0, io.SeekStart)
	return err
}

// Close releases the file.
func (s *Source) Close() error { return s.close() }

// lineCounter counts line ends.
type lineCounter struct{ n int }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += bytes.Count(p, []byte("\n"))
	return len(p), nil
}
