package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/outboxsql"
	"github.com/troupe-go/troupe/journal"
)

// Outbox returns the messages that are to be published. Leases on slots are in
// the journal's schema, by the server's clock, so a dispatcher may be another
// process. They are there as long as the journal is open.
func (j *Journal) Outbox() journal.Outbox { return publishing{j} }

// publishing is the journal as an outbox.
type publishing struct{ journal *Journal }

var _ journal.Outbox = publishing{}

// run gives fn a connection. What fn does may happen twice.
func (p publishing) run(ctx context.Context, doing string, fn func(ctx context.Context, conn *pgx.Conn) error) error {
	if err := p.journal.read(ctx, doing, fn); err != nil {
		return typed(doing, err)
	}
	return nil
}

// Lease takes a lock on the table of leases, which are few and seldom written,
// so that no two dispatchers look at the same time.
func (p publishing) Lease(ctx context.Context, l journal.OutboxLease, ttl time.Duration) (ok bool, err error) {
	if err := l.Validate(); err != nil {
		return false, err
	}
	sql := &p.journal.sql
	err = p.run(ctx, "lease outbox slots", func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, sql.lockLeases); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, sql.sweepLeases); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, sql.takeLease, l.Token, l.Slots.From, l.Slots.To, l.Owner, ttl.Microseconds())
			ok = tag.RowsAffected() > 0
			return err
		})
	})
	return ok && err == nil, err
}

func (p publishing) Renew(ctx context.Context, token string, ttl time.Duration) (held []journal.SlotRange, err error) {
	err = p.run(ctx, "renew outbox leases", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, p.journal.sql.renewLeases, token, ttl.Microseconds())
		if err != nil {
			return err
		}
		held, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r journal.SlotRange, err error) {
			return r, row.Scan(&r.From, &r.To)
		})
		return err
	})
	return held, err
}

func (p publishing) Release(ctx context.Context, token string, slots journal.SlotRange) error {
	if err := slots.Validate(); err != nil {
		return err
	}
	return p.run(ctx, "release outbox slots", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, p.journal.sql.releaseLease, token, slots.From, slots.To)
		return err
	})
}

func (p publishing) Leases(ctx context.Context) (all []journal.OutboxLease, err error) {
	err = p.run(ctx, "read outbox leases", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, p.journal.sql.leases)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l journal.OutboxLease, err error) {
			var micros int64
			err = row.Scan(&l.Token, &l.Owner, &l.Slots.From, &l.Slots.To, &micros)
			l.Left = time.Duration(micros) * time.Microsecond
			return l, err
		})
		return err
	})
	return all, err
}

// pendingQuery is the text of a page: position, limit and keys to skip are
// parameters.
func (j *Journal) pendingQuery(slots []journal.SlotRange, skip bool) string {
	condition := outboxsql.InSlots(slots)
	if skip {
		condition += " AND " + outboxsql.OrderingKey + " <> ALL ($3::text[])"
	}
	return j.sql.pending + condition + " ORDER BY position LIMIT $2"
}

// pageRows is how many messages a page is asked for at most: as many as the last
// pages had until they reached their size, or twice as many as that. The server
// sends all that it is asked for. Zero means 1,024.
type pageRows struct{ n atomic.Int64 }

func (p *pageRows) limit(wanted int) int {
	most := p.n.Load()
	if most == 0 {
		most = 1024
	}
	return int(min(int64(wanted), most))
}

// had notes how many messages filled a page, or that all that were asked for did
// not.
func (p *pageRows) had(n, asked int, full bool) {
	switch {
	case full:
		p.n.Store(int64(max(n, 2)))
	case n == asked:
		p.n.Store(int64(min(max(2*n, 1024), 1<<20)))
	}
}

func (p publishing) Pending(ctx context.Context, q journal.PendingQuery) (page journal.PendingPage, err error) {
	if err := q.Validate(); err != nil {
		return page, err
	}
	query := p.journal.pendingQuery(q.Slots, len(q.Skip) > 0)
	asked := p.journal.pageRows.limit(min(q.Limit, math.MaxInt32) + 1)
	args := []any{int64(min(q.After, math.MaxInt64)), asked}
	if len(q.Skip) > 0 {
		args = append(args, q.Skip)
	}
	err = p.run(ctx, "read pending messages", func(ctx context.Context, conn *pgx.Conn) (err error) {
		// Before the page is read: see outboxHorizon.
		if page.Complete, err = p.journal.outboxHorizon.advance(ctx, conn, &p.journal.sql); err != nil {
			return err
		}
		// A table that grows and shrinks has statistics of another time; by
		// those, reading and sorting all of it can look cheap. What is in one
		// batch is one transaction.
		var batch pgx.Batch
		batch.Queue("SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)")
		batch.Queue(query, args...)
		results := conn.SendBatch(ctx, &batch)
		defer func() { err = errors.Join(err, results.Close()) }()
		if _, err := results.Exec(); err != nil {
			return err
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		page.Messages, page.More, err = scanPage(rows, asked)
		return err
	})
	if err != nil {
		return journal.PendingPage{}, err
	}
	n := len(page.Messages)
	p.journal.pageRows.had(n, asked, page.More && n < asked)
	if n > q.Limit {
		page.Messages = page.Messages[:q.Limit]
	}
	return page, nil
}

// scanPage reads messages up to the size of a page. more says that it ended by
// that, or that there may be others behind as many as were asked for.
func scanPage(rows pgx.Rows, asked int) (page []envelope.StoredMessage, more bool, err error) {
	defer rows.Close()
	page = make([]envelope.StoredMessage, 0, min(asked, 1024))
	bytes := 0
	for rows.Next() {
		if bytes >= journal.PendingPageBytes {
			return page, true, nil
		}
		page = append(page, envelope.StoredMessage{})
		if err := scanMessage(rows, &page[len(page)-1]); err != nil {
			return nil, false, err
		}
		bytes += len(page[len(page)-1].Data)
	}
	rows.Close()
	return page, len(page) == asked, rows.Err()
}

func (p publishing) Delayed(ctx context.Context, q journal.DelayedQuery) (page journal.DelayedPage, err error) {
	if err := q.Validate(); err != nil {
		return page, err
	}
	query := p.journal.sql.delayed + outboxsql.InSlots(q.Slots) + " ORDER BY due, position LIMIT $1"
	until := outboxsql.Due(q.Until)
	err = p.run(ctx, "read delayed messages", func(ctx context.Context, conn *pgx.Conn) error {
		page = journal.DelayedPage{}
		rows, err := conn.Query(ctx, query, min(q.Limit, math.MaxInt32-1)+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var position, due int64
			if err := rows.Scan(&position, &due); err != nil {
				return err
			}
			if due > until || len(page.Due) == q.Limit {
				page.Next = time.UnixMicro(due).UTC()
				break
			}
			page.Due = append(page.Due, uint64(position))
		}
		rows.Close()
		return rows.Err()
	})
	return page, err
}

func (p publishing) Settle(ctx context.Context, token string, s journal.Settlement) error {
	sql := &p.journal.sql
	published := positions(s.Published)
	parked := make([]int64, len(s.Parked))
	times, reasons := make([]time.Time, len(s.Parked)), make([]string, len(s.Parked))
	attempts, behind := make([]int32, len(s.Parked)), make([]bool, len(s.Parked))
	for i := range s.Parked {
		m := &s.Parked[i]
		parked[i], times[i], reasons[i] = int64(m.Position), m.Time, journal.CutParkReason(m.Reason)
		attempts[i], behind[i] = int32(m.Attempts), m.Behind
	}
	pending := positions(s.Pending)
	lost := false
	err := p.run(ctx, "settle messages", func(ctx context.Context, conn *pgx.Conn) error {
		lost = false
		work := func(run executor) error {
			left := func(done pgconn.CommandTag, all []int64) error {
				if done.RowsAffected() == int64(len(all)) {
					return nil
				}
				// The others are gone already, unless they are somebody else's
				// to settle.
				var there bool
				err := run.QueryRow(ctx, sql.unsettled, all, token).Scan(&there)
				lost = lost || there
				return err
			}
			if len(published) > 0 {
				tag, err := run.Exec(ctx, sql.deletePublished, published, token)
				if err == nil {
					err = left(tag, published)
				}
				if err != nil {
					return err
				}
			}
			if len(parked) > 0 {
				tag, err := run.Exec(ctx, sql.park, parked, token, times, reasons, attempts, behind)
				if err == nil {
					err = left(tag, parked)
				}
				if err != nil {
					return err
				}
			}
			if len(pending) == 0 {
				return nil
			}
			tag, err := run.Exec(ctx, sql.unpark, pending, token)
			if err != nil {
				return err
			}
			return left(tag, pending)
		}
		if len(parked)+len(pending) == 0 {
			return work(conn) // one statement is a transaction of its own
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return work(tx) })
	})
	if err == nil && lost {
		err = fmt.Errorf("postgres: settle messages: %w", journal.ErrLeaseLost)
	}
	return err
}

// executor is a connection or a transaction on it.
type executor interface {
	querier
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
}

// positions are as the server has them.
func positions(all []uint64) []int64 {
	signed := make([]int64, len(all))
	for i, position := range all {
		signed[i] = int64(min(position, math.MaxInt64))
	}
	return signed
}

// picks is the condition of a filter, for rows that are parked; its parameters
// begin with number first.
func picks(f *journal.ParkedFilter, first int) (condition string, args []any) {
	condition = "parked IS NOT NULL"
	add := func(more string, arg any) {
		condition += " AND " + fmt.Sprintf(more, first+len(args))
		args = append(args, arg)
	}
	if f.ID != "" {
		add("message = $%d", f.ID)
	}
	if f.Key != "" {
		add(outboxsql.OrderingKey+" = $%d", f.Key)
	}
	if f.Name != "" {
		add("name = $%d", f.Name)
	}
	if f.Slots.Len() > 0 {
		add("slot >= $%d", f.Slots.From)
		add("slot < $%d", f.Slots.To)
	}
	if f.Ordered {
		condition += " AND ordered > 0"
	}
	return condition, args
}

func (p publishing) Parked(ctx context.Context, filter journal.ParkedFilter) iter.Seq2[journal.ParkedMessage, error] {
	return func(yield func(journal.ParkedMessage, error) bool) {
		if err := filter.Validate(); err != nil {
			yield(journal.ParkedMessage{}, err)
			return
		}
		condition, args := picks(&filter, 4)
		query := fmt.Sprintf(p.journal.sql.parked, condition)
		for after := int64(0); ; {
			var page []journal.ParkedMessage
			err := p.run(ctx, "read parked messages", func(ctx context.Context, conn *pgx.Conn) error {
				rows, err := conn.Query(ctx, query, append([]any{after, pageRecords, pageBytes}, args...)...)
				if err != nil {
					return err
				}
				page, err = pgx.CollectRows(rows, scanParked)
				return err
			})
			if err != nil {
				yield(journal.ParkedMessage{}, err)
				return
			}
			for _, m := range page {
				if !yield(m, nil) {
					return
				}
				after = int64(m.Position)
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

func scanParked(row pgx.CollectableRow) (m journal.ParkedMessage, err error) {
	rows, ok := row.(pgx.Rows)
	if !ok {
		return m, fmt.Errorf("postgres: %T is no row", row)
	}
	var order int16
	err = scanMessage(rows, &m.StoredMessage, &m.Parking.Time, &m.Reason, &m.Attempts, &m.Behind, &order) //nolint:staticcheck // the message has a Time, too
	m.Parking.Time, m.Order = m.Parking.Time.UTC(), journal.ParkedOrder(order)                            //nolint:staticcheck // not the message's
	return m, err
}

func (p publishing) OrderParked(ctx context.Context, filter journal.ParkedFilter, order journal.ParkedOrder) (n int, err error) {
	if err := filter.Validate(); err != nil {
		return 0, err
	}
	condition, args := picks(&filter, 2)
	err = p.run(ctx, "order parked messages", func(ctx context.Context, conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, fmt.Sprintf(p.journal.sql.orderParked, condition), append([]any{int16(order)}, args...)...)
		n = int(tag.RowsAffected())
		return err
	})
	if err == nil && n > 0 {
		p.journal.stored()
	}
	return n, err
}

func (p publishing) Figures(ctx context.Context) (f journal.OutboxFigures, err error) {
	err = p.run(ctx, "count messages", func(ctx context.Context, conn *pgx.Conn) error {
		var oldest *time.Time
		err := conn.QueryRow(ctx, p.journal.sql.figures).Scan(&f.Pending, &f.Parked, &f.Delayed, &oldest)
		if oldest != nil {
			f.Oldest = max(time.Since(*oldest), 0)
		}
		return err
	})
	return f, err
}
