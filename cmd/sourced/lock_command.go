package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
)

// runLock is the command lock.
func runLock(args []string, stdout, stderr io.Writer) int {
	flags := newFlags(stderr, "lock [-accept] [folder ...]")
	accept := flags.Bool("accept", false, "make the lock say what the source says, for work that was never released")
	return runDirs(flags, args, stderr, func(dir string) error {
		return lockDir(dir, *accept, stdout)
	})
}

// lockDir prints where source and lock of one folder differ. Contradictions,
// and without accept any difference, are an error; with it the lock is written.
func lockDir(dir string, accept bool, stdout io.Writer) error {
	s, m, err := load(dir)
	if err != nil {
		return err
	}
	for _, a := range m.aggregates {
		if _, err := s.emit(m, a); err != nil {
			return err
		}
	}
	locked, err := readLock(dir)
	if err != nil {
		return err
	}
	shapes := s.shapes(m)
	if err := s.err(); err != nil {
		return err
	}
	want := m.accepted(shapes, locked)
	if !accept {
		s.compare(m, shapes, locked)
		if err := s.err(); err != nil {
			return err
		}
		want = merge(shapes, locked)
	}
	text := formatLock(want)
	if bytes.Equal(text, locked.text) {
		return nil
	}
	printChanges(stdout, locked, want)
	if !accept {
		return fmt.Errorf("%s is out of date: run go generate", locked.path)
	}
	return writeFile(locked.path, text)
}

// printChanges writes a line for each schema that is not in both, or not with
// one shape.
func printChanges(w io.Writer, locked *lock, want map[lockID]layout) {
	all := maps.Clone(want)
	maps.Copy(all, locked.layouts)
	for _, id := range sortedIDs(all) {
		old, had := locked.layouts[id]
		now, has := want[id]
		what := "replaced"
		switch {
		case !had:
			what = "new"
		case !has:
			what = "dropped"
		case slices.Equal(old.fields, now.fields):
			continue
		}
		_, _ = fmt.Fprintf(w, "%s: %s: schema %d of %s%s\n", locked.path, what, id.schema, id.what(), diffLines(old.fields, now.fields))
	}
}
