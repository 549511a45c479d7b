package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/bank/statement"
	"github.com/troupe-go/troupe/examples/bank/teller"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

// retention is how long the bank remembers that a line was booked. A statement
// that comes again later would be booked again.
const retention = 10 * 365 * 24 * time.Hour

// drain is how long a stop waits for what is under way.
const drain = 10 * time.Second

// book opens the bank, books the statement and prints the report.
func (cfg config) book(ctx context.Context, source *statement.Source, stdout, stderr io.Writer) (interrupted bool, err error) {
	dir, cleanUp, err := cfg.folder()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	path := filepath.Join(dir, "bank.db")
	if _, err := os.Stat(path); err == nil {
		say(stdout, "Continuing with the bank in %s.", path)
	} else {
		say(stdout, "Opening a new bank in %s.", path)
	}
	j, err := bolt.Open(path, &bolt.Options{ReceiptRetention: retention})
	if err != nil {
		return false, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	system, err := actor.NewSystem(j, nil)
	if err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err = errors.Join(err, system.Stop(ctx))
	}()
	accounts, err := actor.Host(system, account.Spec, nil)
	if err != nil {
		return false, err
	}
	return cfg.bookInto(ctx, accounts, source, stdout, stderr)
}

// bookInto is book, whatever runs the accounts.
func (cfg config) bookInto(ctx context.Context, accounts aggregate.Asker[account.Account], source *statement.Source, stdout, stderr io.Writer) (interrupted bool, err error) {
	r, err := source.Open()
	if err != nil {
		return false, err
	}
	bar := newProgress(stderr, source.Lines)
	settled := func(n int) {
		bar.set(n)
		if cfg.settled != nil {
			cfg.settled(n)
		}
	}
	report, err := teller.Book(ctx, accounts, source.ID, r, &teller.Options{Settled: settled})
	bar.finish()
	if err != nil {
		return false, err
	}
	// An interrupted run still says where it stands.
	views, err := look(context.WithoutCancel(ctx), accounts, report.Accounts)
	if err != nil {
		return false, err
	}
	printReport(stdout, report, views, cfg.rejected)
	switch {
	case report.Interrupted && cfg.dir == "":
		say(stdout, "Interrupted. This bank was a temporary one; with -dir it could be gone on with.")
	case report.Interrupted:
		say(stdout, "Interrupted. Run it again with -dir %s to go on.", cfg.dir)
	}
	return report.Interrupted, nil
}

// look reads the accounts that exist.
func look(ctx context.Context, accounts aggregate.Asker[account.Account], ids []string) ([]account.View, error) {
	views := make([]account.View, 0, len(ids))
	for _, id := range ids {
		view, err := account.Show.Ask(ctx, accounts, account.Number{ID: id})
		switch {
		case errors.Is(err, aggregate.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("look at account %s: %w", id, err)
		default:
			views = append(views, view)
		}
	}
	return views, nil
}

// folder returns where bank.db lies, and what to do at the end.
func (cfg config) folder() (dir string, cleanUp func() error, err error) {
	if cfg.dir != "" {
		return cfg.dir, func() error { return nil }, os.MkdirAll(cfg.dir, 0o700)
	}
	dir, err = os.MkdirTemp("", "bank-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// explain puts an error into plain words.
func explain(err error) string {
	var hint string
	switch {
	case errors.Is(err, journal.ErrLocked):
		hint = "another bank is at work in that folder: wait for it, or name another folder with -dir"
	case errors.Is(err, journal.ErrCorrupt):
		hint = "the file is damaged: name another folder with -dir, and keep this one for whoever looks into it"
	case errors.Is(err, aggregate.ErrUnavailable):
		hint = "the disk may be full; make room and run it again, it goes on where it stopped"
	case errors.Is(err, aggregate.ErrReplay):
		hint = "the file was written by another version of this program"
	case errors.Is(err, fs.ErrPermission):
		hint = "this user may not read or write there"
	default:
		return err.Error()
	}
	return fmt.Sprintf("%v\n(%s)", err, hint)
}
