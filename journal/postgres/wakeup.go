package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// tellEvery is how often at most other processes are told of changes. A
	// NOTIFY takes a lock of the whole database at its commit, so that one in
	// every append would stop them beside each other: measured, from 14,700
	// appends a second to 184.
	tellEvery = 20 * time.Millisecond

	// Pauses between two attempts to connect.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// channel is what processes with journals in this schema listen to.
func (j *Journal) channel() string { return "troupe_" + j.opts.Schema }

// tell tells other processes of what was stored here, off the commits' path, at
// once if the last time was long enough ago.
func (j *Journal) tell() {
	query := "NOTIFY " + pgx.Identifier{channelName(j.channel())}.Sanitize()
	j.whileOpen("tell other processes", func(ctx context.Context, conn *pgx.Conn) error {
		for {
			select {
			case <-j.notify:
			case <-ctx.Done():
				return nil
			}
			if _, err := conn.Exec(ctx, query); err != nil {
				return err
			}
			if !sleep(ctx, tellEvery) {
				return nil
			}
		}
	})
}

// listen wakes readers when other processes tell of changes, and when the
// connection was lost, since then something may have been missed.
func (j *Journal) listen() {
	query := "LISTEN " + pgx.Identifier{channelName(j.channel())}.Sanitize()
	j.whileOpen("listen", func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, query); err != nil {
			return err
		}
		j.announce()
		for {
			heard, err := conn.WaitForNotification(ctx)
			if err != nil {
				return err
			}
			if heard.PID != j.teller.Load() {
				j.announce()
			}
		}
	})
}

// channelName cuts a name as the server does.
func channelName(name string) string { return name[:min(len(name), 63)] }

// whileOpen gives work a connection, and another when that is lost, until Close.
func (j *Journal) whileOpen(doing string, work func(ctx context.Context, conn *pgx.Conn) error) {
	ctx := j.stopped
	for pause := firstPause; ; {
		conn, err := j.dialTimed(ctx)
		if err == nil {
			pause = firstPause
			if doing != "listen" {
				j.teller.Store(conn.PgConn().PID())
			}
			err = work(ctx, conn)
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = conn.Close(closing)
			cancel()
		}
		if ctx.Err() != nil {
			return
		}
		j.opts.Logger.Warn("postgres: connection lost", "for", doing, "schema", j.opts.Schema, "error", err)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

func (j *Journal) dialTimed(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, j.opts.ConnectTimeout)
	defer cancel()
	return j.dial(ctx)
}
