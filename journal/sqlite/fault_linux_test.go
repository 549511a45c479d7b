package sqlite_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("takes the right to mount: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func TestFullDiskIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "size=6m")
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "journal.db")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 3<<20), 0o600))
	j := open(t, path, quiet())
	b, stored, err := writeUntilRefused(t, j, make([]byte, 30<<10), 1_000)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.NotZero(t, stored)
	requireStored(t, j, stored)
	require.NoError(t, os.Remove(ballast))
	requireService(t, j, b)
	requireStored(t, j, stored+1)
	require.NoError(t, j.Close())
	requireStored(t, open(t, path, nil), stored+1)
}

func TestReadOnlyFolderIsUnavailable(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "size=6m")
	path := filepath.Join(dir, "journal.db")
	j := open(t, path, quiet())
	commit(t, j, batch(events(todo("0"), 0, 1)))
	require.NoError(t, j.Close())
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, opening := range []func() (*sqlite.Journal, error){
		func() (*sqlite.Journal, error) { return sqlite.Open(t.Context(), path, quiet()) },
		func() (*sqlite.Journal, error) { return sqlite.OpenAndMigrate(t.Context(), path, quiet()) },
	} {
		j, err := opening()
		if err == nil {
			_, err = journal.Commit(t.Context(), j, batch(events(todo("1"), 0, 1)))
			require.NoError(t, j.Close())
		}
		require.ErrorIs(t, err, journal.ErrUnavailable)
	}
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
	j = open(t, path, quiet())
	commit(t, j, batch(events(todo("1"), 0, 1)))
	requireStored(t, j, 2)
}
