package bench_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// cacheDir is where built files stay: TROUPE_BENCH_CACHE, or the user's cache.
func cacheDir(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("TROUPE_BENCH_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			b.Fatal(err)
		}
		dir = filepath.Join(cache, "troupe-bench")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func remove(b *testing.B, path string) {
	b.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
}

func create(b *testing.B, path string) {
	b.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
}

func fileMiB(b *testing.B, path string) float64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size()) / (1 << 20)
}
