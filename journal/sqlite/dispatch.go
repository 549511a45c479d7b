package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/outboxsql"
	"github.com/troupe-go/troupe/journal"
)

// Outbox returns the messages that are to be published. Leases on slots are in
// the database, by this machine's clock, so a dispatcher may be another process.
// They are there as long as the journal is open.
func (j *Journal) Outbox() journal.Outbox { return publishing{j} }

// publishing is the journal as an outbox.
type publishing struct{ journal *Journal }

var _ journal.Outbox = publishing{}

func (p publishing) Lease(ctx context.Context, l journal.OutboxLease, ttl time.Duration) (ok bool, err error) {
	if err := l.Validate(); err != nil {
		return false, err
	}
	err = p.journal.write(ctx, "lease outbox slots", func(ctx context.Context, s *session) error {
		now := time.Now()
		if err := s.exec(ctx, "DELETE FROM outbox_leases WHERE until <= ?", now.UnixMicro()); err != nil {
			return err
		}
		taken, err := s.row(ctx, "SELECT 1 FROM outbox_leases WHERE token <> ? AND max(first, ?) < min(last, ?) LIMIT 1",
			[]any{l.Token, l.Slots.From, l.Slots.To}, new(int))
		if ok = !taken; taken || err != nil {
			return err
		}
		return s.exec(ctx, `INSERT INTO outbox_leases (token, first, last, owner, until) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (token, first, last) DO UPDATE SET owner = excluded.owner, until = excluded.until`,
			l.Token, l.Slots.From, l.Slots.To, l.Owner, now.Add(ttl).UnixMicro())
	})
	return ok && err == nil, err
}

func (p publishing) Renew(ctx context.Context, token string, ttl time.Duration) (held []journal.SlotRange, err error) {
	err = p.journal.write(ctx, "renew outbox leases", func(ctx context.Context, s *session) error {
		now := time.Now()
		return s.rows(ctx, "UPDATE outbox_leases SET until = ? WHERE token = ? AND until > ? RETURNING first, last",
			[]any{now.Add(ttl).UnixMicro(), token, now.UnixMicro()}, func(rows *sql.Rows) (bool, error) {
				var r journal.SlotRange
				err := rows.Scan(&r.From, &r.To)
				held = append(held, r)
				return true, err
			})
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

func (p publishing) Release(ctx context.Context, token string, slots journal.SlotRange) error {
	if err := slots.Validate(); err != nil {
		return err
	}
	return p.journal.write(ctx, "release outbox slots", func(ctx context.Context, s *session) error {
		return s.exec(ctx, "DELETE FROM outbox_leases WHERE token = ? AND first = ? AND last = ?", token, slots.From, slots.To)
	})
}

func (p publishing) Leases(ctx context.Context) (all []journal.OutboxLease, err error) {
	err = p.journal.view(ctx, "read outbox leases", func(ctx context.Context, s *session) error {
		now := time.Now()
		return s.rows(ctx, "SELECT token, owner, first, last, until FROM outbox_leases WHERE until > ? ORDER BY first, last, token",
			[]any{now.UnixMicro()}, func(rows *sql.Rows) (bool, error) {
				var l journal.OutboxLease
				var until int64
				err := rows.Scan(&l.Token, &l.Owner, &l.Slots.From, &l.Slots.To, &until)
				l.Left = time.UnixMicro(until).Sub(now)
				all = append(all, l)
				return true, err
			})
	})
	return all, err
}

func (p publishing) Pending(ctx context.Context, q journal.PendingQuery) (page journal.PendingPage, err error) {
	if err := q.Validate(); err != nil {
		return page, err
	}
	query := "SELECT " + messageColumns + " FROM outbox WHERE position > ? AND parked IS NULL AND due = 0" + outboxsql.InSlots(q.Slots)
	args := []any{int64(min(q.After, math.MaxInt64))}
	if len(q.Skip) > 0 {
		skip, err := json.Marshal(q.Skip)
		if err != nil {
			return page, err
		}
		query += " AND " + outboxsql.OrderingKey + " NOT IN (SELECT value FROM json_each(?))"
		args = append(args, string(skip))
	}
	query += " ORDER BY position LIMIT ?"
	args = append(args, min(q.Limit, math.MaxInt32)+1)
	err = p.journal.view(ctx, "read pending messages", func(ctx context.Context, s *session) error {
		var last int64
		if _, err := s.row(ctx, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", nil, &last); err != nil {
			return err
		}
		page = journal.PendingPage{Complete: uint64(last)}
		bytes := 0
		return s.rows(ctx, query, args, func(rows *sql.Rows) (bool, error) {
			if page.More = len(page.Messages) == q.Limit || bytes >= journal.PendingPageBytes; page.More {
				return false, nil
			}
			var m envelope.StoredMessage
			err := scanMessage(rows, &m)
			page.Messages = append(page.Messages, m)
			bytes += len(m.Data)
			return true, err
		})
	})
	return page, err
}

func (p publishing) Delayed(ctx context.Context, q journal.DelayedQuery) (page journal.DelayedPage, err error) {
	if err := q.Validate(); err != nil {
		return page, err
	}
	query := "SELECT position, due FROM outbox WHERE due > 0" + outboxsql.InSlots(q.Slots) + " ORDER BY due, position LIMIT ?"
	until := outboxsql.Due(q.Until)
	err = p.journal.view(ctx, "read delayed messages", func(ctx context.Context, s *session) error {
		page = journal.DelayedPage{}
		return s.rows(ctx, query, []any{min(q.Limit, math.MaxInt32) + 1}, func(rows *sql.Rows) (more bool, err error) {
			var position, due int64
			if err := rows.Scan(&position, &due); err != nil {
				return false, err
			}
			if due > until || len(page.Due) == q.Limit {
				page.Next = fromMicros(due)
				return false, nil
			}
			page.Due = append(page.Due, uint64(position))
			return true, nil
		})
	})
	return page, err
}

// Settle has the committer delete and move messages, so that it shares the sync
// of a group.
func (p publishing) Settle(ctx context.Context, token string, settled journal.Settlement) error {
	if settled.IsEmpty() {
		return p.journal.view(ctx, "settle messages", func(context.Context, *session) error { return nil })
	}
	size := 64 * (1 + len(settled.Published) + len(settled.Parked) + len(settled.Pending))
	for i := range settled.Parked {
		size += len(settled.Parked[i].Reason)
	}
	lost := false
	err := p.journal.edit(ctx, "settle messages", size, func(ctx context.Context, s *session) error {
		lost = false
		const held = `EXISTS (SELECT 1 FROM outbox_leases l WHERE l.token = ? AND l.until > ? AND slot >= l.first AND slot < l.last)`
		now := time.Now().UnixMicro()
		published, err := json.Marshal(settled.Published)
		if err != nil {
			return err
		}
		n, err := s.count(ctx, "DELETE FROM outbox WHERE position IN (SELECT value FROM json_each(?)) AND "+held, string(published), token, now)
		if err != nil {
			return err
		}
		if n < int64(len(settled.Published)) {
			// The others are gone already, unless they are somebody else's to settle.
			if lost, err = s.row(ctx, "SELECT 1 FROM outbox WHERE position IN (SELECT value FROM json_each(?)) LIMIT 1",
				[]any{string(published)}, new(int)); err != nil {
				return err
			}
		}
		for i := range settled.Parked {
			m := &settled.Parked[i]
			n, err := s.count(ctx, "UPDATE outbox SET parked = ?, reason = ?, attempts = ?, behind = ?, ordered = 0, due = 0 WHERE position = ? AND "+held,
				m.Time.UnixMicro(), journal.CutParkReason(m.Reason), m.Attempts, m.Behind, int64(m.Position), token, now)
			if err != nil {
				return err
			}
			if n == 0 {
				there, err := s.row(ctx, "SELECT 1 FROM outbox WHERE position = ?", []any{int64(m.Position)}, new(int))
				if err != nil {
					return err
				}
				lost = lost || there
			}
		}
		if len(settled.Pending) == 0 {
			return nil
		}
		pending, err := json.Marshal(settled.Pending)
		if err != nil {
			return err
		}
		const these = "position IN (SELECT value FROM json_each(?)) AND (parked IS NOT NULL OR due > 0)"
		err = s.exec(ctx, "UPDATE outbox SET parked = NULL, reason = NULL, attempts = NULL, behind = NULL, ordered = NULL, due = 0 WHERE "+these+" AND "+held,
			string(pending), token, now)
		if err != nil {
			return err
		}
		left, err := s.row(ctx, "SELECT 1 FROM outbox WHERE "+these+" LIMIT 1", []any{string(pending)}, new(int))
		lost = lost || left
		return err
	})
	if err == nil && lost {
		err = fmt.Errorf("sqlite: settle messages: %w", journal.ErrLeaseLost)
	}
	return err
}

// picks is the condition of a filter, for rows that are parked.
func picks(f *journal.ParkedFilter) (condition string, args []any) {
	condition = "parked IS NOT NULL"
	add := func(more string, arg ...any) {
		condition += " AND " + more
		args = append(args, arg...)
	}
	if f.ID != "" {
		add("message = ?", f.ID)
	}
	if f.Key != "" {
		add(outboxsql.OrderingKey+" = ?", f.Key)
	}
	if f.Name != "" {
		add("name = ?", f.Name)
	}
	if f.Slots.Len() > 0 {
		add("slot >= ? AND slot < ?", f.Slots.From, f.Slots.To)
	}
	if f.Ordered {
		add("ordered > 0")
	}
	return condition, args
}

func (p publishing) Parked(ctx context.Context, filter journal.ParkedFilter) iter.Seq2[journal.ParkedMessage, error] {
	return func(yield func(journal.ParkedMessage, error) bool) {
		if err := filter.Validate(); err != nil {
			yield(journal.ParkedMessage{}, err)
			return
		}
		condition, args := picks(&filter)
		query := "SELECT " + messageColumns + ", parked, reason, attempts, behind, ordered FROM outbox WHERE " + condition +
			" AND position > ? ORDER BY position LIMIT ?"
		for after, more := int64(0), true; more; {
			var page []journal.ParkedMessage
			err := p.journal.view(ctx, "read parked messages", func(ctx context.Context, s *session) error {
				page, more = nil, false
				bytes := 0
				return s.rows(ctx, query, append(args[:len(args):len(args)], after, pageRecords+1), func(rows *sql.Rows) (bool, error) {
					if more = len(page) == pageRecords || bytes >= pageBytes; more {
						return false, nil
					}
					m, err := scanParked(rows)
					page = append(page, m)
					bytes += len(m.Data)
					return true, err
				})
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
		}
	}
}

func scanParked(rows *sql.Rows) (m journal.ParkedMessage, err error) {
	var parked int64
	err = scanMessage(rows, &m.StoredMessage, &parked, &m.Reason, &m.Attempts, &m.Behind, &m.Order)
	m.Parking.Time = fromMicros(parked) //nolint:staticcheck // the message has a Time, too
	return m, err
}

func (p publishing) OrderParked(ctx context.Context, filter journal.ParkedFilter, order journal.ParkedOrder) (int, error) {
	if err := filter.Validate(); err != nil {
		return 0, err
	}
	condition, args := picks(&filter)
	var n int64
	err := p.journal.write(ctx, "order parked messages", func(ctx context.Context, s *session) (err error) {
		n, err = s.count(ctx, "UPDATE outbox SET ordered = ? WHERE "+condition, append([]any{int64(order)}, args...)...)
		return err
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		p.journal.announce()
	}
	return int(n), nil
}

func (p publishing) Figures(ctx context.Context) (f journal.OutboxFigures, err error) {
	err = p.journal.view(ctx, "count messages", func(ctx context.Context, s *session) error {
		if _, err := s.row(ctx, "SELECT count(*) FROM outbox WHERE parked IS NOT NULL", nil, &f.Parked); err != nil {
			return err
		}
		if _, err := s.row(ctx, "SELECT count(*) FROM outbox", nil, &f.Pending); err != nil {
			return err
		}
		if _, err := s.row(ctx, "SELECT count(*) FROM outbox WHERE due > 0", nil, &f.Delayed); err != nil {
			return err
		}
		f.Pending -= f.Parked + f.Delayed
		var micros int64
		found, err := s.row(ctx, "SELECT time FROM outbox WHERE parked IS NULL AND due = 0 ORDER BY position LIMIT 1", nil, &micros)
		if found {
			f.Oldest = max(time.Since(fromMicros(micros)), 0)
		}
		return err
	})
	return f, err
}
