package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// output is what a package's folder should hold.
type output struct {
	files     map[string][]byte // by name
	generated []string          // files of an earlier run
}

// gone says why a file of an earlier run is not wanted.
func (o *output) gone(name string) string {
	if stem, ok := strings.CutSuffix(name, testSuffix); ok && o.files[stem+suffix] != nil {
		return "-no-tests leaves it out"
	}
	return "its aggregate is gone"
}

// write brings dir up to date: it writes files that differ and removes those
// of aggregates that are gone. With check it only reports, and what it would
// do is an error.
func write(dir string, out *output, check bool, stdout io.Writer) error {
	changes := 0
	for _, name := range slices.Sorted(maps.Keys(out.files)) {
		path, text := filepath.Join(dir, name), out.files[name]
		old, err := os.ReadFile(path)
		switch {
		case err == nil && bytes.Equal(old, text):
			continue // the unchanged file keeps its time stamp
		case err == nil && !slices.Contains(out.generated, name):
			return fmt.Errorf("%s was not written by sourced: rename it, the generated file needs that name", path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		changes++
		if check {
			_, _ = fmt.Fprintf(stdout, "%s is out of date\n", path)
			continue
		}
		if err := writeFile(path, text); err != nil {
			return err
		}
	}
	for _, name := range out.generated {
		if _, wanted := out.files[name]; wanted {
			continue
		}
		path := filepath.Join(dir, name)
		changes++
		if check {
			_, _ = fmt.Fprintf(stdout, "%s is out of date: %s\n", path, out.gone(name))
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if check && changes > 0 {
		return fmt.Errorf("%s: run go generate", dir)
	}
	return nil
}

// writeFile replaces the file at path in one step: who reads it meanwhile, or
// after a crash, finds the old text or the new one.
func writeFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".sourced-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
