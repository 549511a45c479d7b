package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the source says, the generator writes a file that parses or says
// what is wrong, and never that the mistake is its own.
func FuzzGenerate(f *testing.F) {
	cases, err := filepath.Glob("testdata/refused/*.txt")
	require.NoError(f, err)
	for _, path := range append(cases, "testdata/written/todo/todo.go", "testdata/written/several/several.go") {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		text, _, _ = bytes.Cut(text, []byte("-- want --"))
		if _, body, ok := strings.Cut(string(text), " --\n"); ok {
			text = []byte(body)
		}
		f.Add(text)
	}
	more, err := filepath.Glob("testdata/locked/*.txt")
	require.NoError(f, err)
	for _, path := range more {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		_, body, _ := strings.Cut(string(text), " --\n")
		body, _, _ = strings.Cut(body, "-- ")
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "fuzz.go"), text, 0o600))
		if out, err := generate(dir, true); err != nil {
			require.NotContains(t, err.Error(), "a mistake in sourced")
		} else {
			require.NotEmpty(t, out.files)
			// The lock says what the source says, and can be read.
			require.NoError(t, write(dir, out, false, io.Discard))
			again, err := generate(dir, true)
			require.NoError(t, err)
			require.Equal(t, out.files, again.files)
		}
	})
}
