package backends

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// OpenJournal opens the journal of a service; each has its own, except in a FILE
// that is no folder.
//
// Errors: name the flag's value if it is none of a journal; those of the store.
func (b *Backends) OpenJournal(ctx context.Context, service string) (journal.Journal, error) {
	value := b.Journal
	scheme, where, _ := strings.Cut(value, ":")
	if strings.HasSuffix(value, ".db") && scheme == value { // no colon
		scheme, where = "bolt", value
	}
	var j journal.Journal
	var err error
	switch scheme {
	case "", Memory:
		return memory.Open(nil)
	case "bolt":
		j, err = inFile(where, service+".db", func(path string) (journal.Journal, error) {
			return bolt.Open(path, &bolt.Options{Logger: b.Logger})
		})
	case "sqlite":
		j, err = inFile(where, service+".sqlite", func(path string) (journal.Journal, error) {
			return sqlite.OpenAndMigrate(ctx, path, &sqlite.Options{Logger: b.Logger})
		})
	case "postgres", "postgresql":
		j, err = postgres.OpenAndMigrate(ctx, value, &postgres.Options{Schema: b.schema(service), Logger: b.Logger})
	default:
		return nil, fmt.Errorf("-journal %q: want memory, bolt:FILE, sqlite:FILE or postgres://…", value)
	}
	if err != nil {
		return nil, fmt.Errorf("-journal %s: %w", hidden(value), err)
	}
	return j, nil
}

// inFile opens where, or the file of that name in the folder where.
func inFile(where, name string, open func(path string) (journal.Journal, error)) (journal.Journal, error) {
	if where == "" {
		return nil, errors.New("names no file")
	}
	if !strings.HasSuffix(where, "/") {
		return open(where)
	}
	if err := os.MkdirAll(where, 0o700); err != nil {
		return nil, err
	}
	return open(filepath.Join(where, name))
}

// schema is that of a service in PostgreSQL.
func (b *Backends) schema(service string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(b.namespace() + "_" + service))
}

// hidden is a URL without its password.
func hidden(value string) string {
	if u, err := url.Parse(value); err == nil {
		return u.Redacted()
	}
	return "(a URL that cannot be read)"
}
