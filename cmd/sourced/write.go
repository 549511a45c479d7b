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
)

// output is what a package's folder should hold.
type output struct {
	files     map[string][]byte // by name
	generated []string          // files of an earlier run
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
		if err := os.WriteFile(path, text, 0o644); err != nil {
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
			_, _ = fmt.Fprintf(stdout, "%s is out of date: its aggregate is gone\n", path)
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
