package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// update rewrites the golden files: go test ./cmd/sourced -update.
var update = flag.Bool("update", false, "rewrite the golden files")

// Each file of testdata/refused holds sources and, behind "-- want --", every
// message that they give.
func TestRefused(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/refused/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			dir := t.TempDir()
			sources, want, ok := bytes.Cut(text, []byte("-- want --\n"))
			require.True(t, ok, "no want section")
			unpack(t, dir, string(sources))

			before := contents(t, dir)
			var stdout, stderr bytes.Buffer
			require.Equal(t, 1, run([]string{dir}, &stdout, &stderr), "exit code")
			require.Empty(t, stdout.String())
			got := strings.ReplaceAll(stderr.String(), dir+string(filepath.Separator), "")
			if *update {
				require.NoError(t, os.WriteFile(path, append(sources, "-- want --\n"+got...), 0o644))
			} else {
				require.Equal(t, string(want), got)
			}
			require.Equal(t, before, contents(t, dir), "files were written all the same")

			var checked bytes.Buffer
			require.Equal(t, 1, run([]string{"-check", dir}, &stdout, &checked), "exit code of -check")
			require.Equal(t, stderr.String(), checked.String(), "-check says the same")
		})
	}
}

// contents are the files of dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(text)
	}
	return all
}

// unpack writes the files of "-- name --" sections into dir.
func unpack(t *testing.T, dir, text string) {
	t.Helper()
	for section := range strings.SplitSeq(text, "-- ") {
		name, body, ok := strings.Cut(section, " --\n")
		if !ok {
			continue
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644))
	}
}
