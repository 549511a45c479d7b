package postgres

import (
	"fmt"
	"strings"

	"github.com/troupe-go/troupe/envelope"
)

// statements are the texts that depend on the schema's name alone.
type statements struct {
	table func(name string) string

	lockEvents, lockHeads, readHeads, freeHeads                 string
	moveHeads, dropAbsent                                       string
	insertEvents, insertReceipts, insertInbox, insertOutbox     string
	insertSnapshot, dropSnapshot, truncate, insertBatch         string
	findReceipts, findInbox, findMessages, findBatch, findEvent string
	loadHead, loadPage, loadFrom, loadLatest, readPage          string
	readSlices, bound, exactBound, lag                          string
	receipt, inboxReceipt, messages                             string
	nextTruncated, scavengePage, scavengeEvents, scavengeHead   string
	eagerForms, fastForms                                       [16]string

	lockLeases, sweepLeases, takeLease, renewLeases, releaseLease, leases  string
	deletePublished, park, unpark, unsettled, parked, orderParked, figures string
	pending, delayed, lastMessage, outboxWriters                           string
}

// What an INSERT names, in the order of the parameters' columns.
const (
	headNames     = "type, id, version, events, batch"
	eventNames    = "type, id, version, slice, batch, time, name, schema, codec, data, metadata"
	receiptNames  = "type, id, command, batch, version, codec, reply, time, stored"
	inboxNames    = "consumer, message, batch, version, codec, reply, time, stored"
	outboxNames   = "slot, message, kind, name, destination, key, content_type, codec, data, time, source_type, source_id, source_version, metadata"
	dueNames      = outboxNames + ", due"
	snapshotNames = "type, id, version, schema, fingerprint, codec, data, time"

	// One with a * is mostly the same in all rows: see sharedRows.
	headTypes     = "text*,text,bigint,bigint*,bytea"
	eventTypes    = "text*,text,bigint,smallint,bytea,timestamptz,text*,bigint*,text*,bytea,text"
	receiptTypes  = "text*,text,text,bytea,bigint,text*,bytea,timestamptz,bigint*"
	inboxTypes    = "text,text,bytea,bigint,text,bytea,timestamptz,bigint"
	outboxTypes   = "smallint,text,smallint*,text*,text*,text*,text*,text*,bytea,timestamptz,text*,text,bigint,text"
	dueTypes      = outboxTypes + ",bigint*"
	snapshotTypes = "text,text,bigint,bigint,bigint,text,bytea,timestamptz"
)

// rowsOf is the parameters from $first on, an array for each column, as rows.
func rowsOf(first int, types string) string {
	var b strings.Builder
	b.WriteString("unnest(")
	for i, typ := range strings.Split(types, ",") {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d::%s[]", first+i, strings.TrimSuffix(typ, "*"))
	}
	b.WriteString(") WITH ORDINALITY")
	return b.String()
}

// sharedRows is the parameters from $first on as rows with names, and with ord.
// A column whose type has a * is two parameters, an array and the value of all
// rows: the array is empty or the value NULL. Of other arrays the NULLs at the
// end may be missing. A value that is not sent again for each row costs neither
// side anything, and most columns are alike in most groups.
func sharedRows(first int, names, types string) (rows string, next int) {
	var arrays, aliases, columns []string
	n := first
	for i, typ := range strings.Split(types, ",") {
		name := strings.Split(names, ", ")[i]
		typ, shared := strings.CutSuffix(typ, "*")
		arrays, aliases = append(arrays, fmt.Sprintf("$%d::%s[]", n, typ)), append(aliases, "its_"+name)
		n++
		if !shared {
			columns = append(columns, fmt.Sprintf("its_%[1]s AS %[1]s", name))
			continue
		}
		columns = append(columns, fmt.Sprintf("coalesce(its_%[1]s, $%[2]d::%[3]s) AS %[1]s", name, n, typ))
		n++
	}
	return fmt.Sprintf("(SELECT %s, ord FROM unnest(%s) WITH ORDINALITY AS a(%s, ord))", strings.Join(columns, ", "),
		strings.Join(arrays, ", "), strings.Join(aliases, ", ")), n
}

// prefixed is names, each with a prefix: "r.type, r.id".
func prefixed(prefix, names string) string {
	return prefix + strings.ReplaceAll(names, ", ", ", "+prefix)
}

// on joins a row of parameters with a table or the gate. Parameters have the
// database's collation, columns have "C".
func on(table, row string) string {
	return fmt.Sprintf(`%[1]s.type = %[2]s.type COLLATE "C" AND %[1]s.id = %[2]s.id COLLATE "C"`, table, row)
}

// The parts that a statement of the fast step may have beside events.
const (
	withAsserts = 1 << iota
	withReceipts
	withMessages
	withSnapshots
)

// fast is the statement that stores those units of a group that pass.
//
// gate is the gate: one INSERT that moves the heads whose version is the
// expected one, version - events, in the order of their names. It waits for
// whoever holds one of them, and then looks at the version that was committed.
// The head of a stream that does not exist is inserted only if version 0 was
// expected, or if the statement saw that it exists: heads are never deleted.
// Everything else joins the gate, so that of a unit that did not pass nothing
// is stored.
//
// A receipt that is stored and did not expire keeps its unit from the gate. One
// that somebody is storing at this moment, for another stream's batch, makes
// stored NULL, which fails the whole statement.
func (s *statements) fast(parts int) string {
	n := 1
	params := func(names, types string) (rows string) {
		rows, n = sharedRows(n, names, types)
		return rows
	}
	var b strings.Builder
	fmt.Fprintf(&b, "WITH unit AS %s", params(headNames, headTypes))
	events := params(eventNames, eventTypes)
	fresh, cut := "", 0
	if parts&withReceipts != 0 {
		receipts := params(receiptNames, receiptTypes)
		cut = n
		n++
		fmt.Fprintf(&b, `, receipt AS %s,
			known AS MATERIALIZED (SELECT r.type, r.id FROM receipt r WHERE (SELECT x.stored FROM %s x
				WHERE %s AND x.command = r.command COLLATE "C") > $%d)`, receipts, s.table("receipts"), on("x", "r"), cut)
		fresh = " AND NOT EXISTS (SELECT FROM known k WHERE k.type = u.type AND k.id = u.id)"
	}
	fmt.Fprintf(&b, `, gate AS (
		INSERT INTO %[1]s AS h (%[2]s)
		SELECT u.type, u.id, u.version, u.events, u.batch FROM unit u
		WHERE (u.version = u.events OR (SELECT x.version FROM %[1]s x WHERE %[3]s) > 0)%[4]s
		ORDER BY u.ord
		ON CONFLICT (type, id) DO UPDATE SET version = excluded.version,
			events = CASE WHEN excluded.events > 0 THEN excluded.events ELSE h.events END,
			batch = CASE WHEN excluded.events > 0 THEN excluded.batch ELSE h.batch END
		WHERE h.version = excluded.version - excluded.events
		RETURNING h.type, h.id, h.version)`, s.table("heads"), headNames, on("x", "u"), fresh)
	fmt.Fprintf(&b, `, event AS (
		INSERT INTO %s (%s) SELECT %s FROM %s AS r JOIN gate g ON %s ORDER BY r.ord
		RETURNING type, id, version, xid, position)`, s.table("events"), eventNames, prefixed("r.", eventNames), events, on("g", "r"))
	if parts&withReceipts != 0 {
		fmt.Fprintf(&b, `, storedreceipt AS (
		INSERT INTO %s AS s (%s) SELECT %s FROM receipt r JOIN gate g ON %s ORDER BY r.ord
		%s)`, s.table("receipts"), receiptNames, prefixed("r.", receiptNames), on("g", "r"), replaceExpired("type, id, command", fmt.Sprint("$", cut)))
	}
	if parts&withMessages != 0 {
		messages := params(dueNames+", type, id", dueTypes+",text*,text")
		fmt.Fprintf(&b, `, message AS (
		INSERT INTO %s (%s) SELECT %s FROM %s AS m JOIN gate g ON %s ORDER BY m.ord)`,
			s.table("outbox"), dueNames, prefixed("m.", dueNames), messages, on("g", "m"))
	}
	if parts&withSnapshots != 0 {
		fmt.Fprintf(&b, `, snapshot AS (
		INSERT INTO %s AS s (%s) SELECT %s FROM %s AS r JOIN gate g ON %s ORDER BY r.ord
		%s)`, s.table("snapshots"), snapshotNames, prefixed("r.", snapshotNames), params(snapshotNames, snapshotTypes), on("g", "r"), replaceOlder)
	}
	b.WriteString(" SELECT type, id, version, xid, position FROM event")
	if parts&withAsserts != 0 {
		b.WriteString(" UNION ALL SELECT type, id, version, 0, 0 FROM gate")
	}
	return b.String()
}

// eager is the statement that stores a group of units if all of them pass, and
// fails if one does not, as hardly ever one does. So nothing has to be matched
// with the gate: every row goes into its table as it comes, and the answer is
// the transaction and the events' positions, in the order of the events.
//
// A head that the gate made for a stream that does not exist, although a version
// was expected of it, has a version below zero, which does not pass. A receipt
// that is there already, expired or not, fails the statement by its key.
func (s *statements) eager(parts int) string {
	n := 1
	var b strings.Builder
	params := func(names, types string) (rows string) {
		rows, n = sharedRows(n, names, types)
		return rows
	}
	insert := func(as, name, names, types, more string) {
		fmt.Fprintf(&b, `, %s AS (
		INSERT INTO %s AS s (%s) SELECT %s FROM %s AS r WHERE (SELECT passed FROM gated) ORDER BY r.ord %s)`,
			as, s.table(name), names, prefixed("r.", names), params(names, types), more)
	}
	fmt.Fprintf(&b, `WITH gate AS (
		INSERT INTO %s AS h (%s)
		SELECT u.type, u.id, CASE WHEN u.version = u.events THEN u.version ELSE -u.version END, u.events, u.batch
		FROM %s AS u ORDER BY u.ord
		ON CONFLICT (type, id) DO UPDATE SET version = abs(excluded.version),
			events = CASE WHEN excluded.events > 0 THEN excluded.events ELSE h.events END,
			batch = CASE WHEN excluded.events > 0 THEN excluded.batch ELSE h.batch END
		WHERE h.version = abs(excluded.version) - excluded.events
		RETURNING h.version), gated AS MATERIALIZED (
		SELECT CASE WHEN count(*) FILTER (WHERE version > 0) = cardinality($3) THEN true
			ELSE ('only ' || count(*) || ' of a group of streams are where they were: it is stored with care')::boolean END AS passed FROM gate)`,
		s.table("heads"), headNames, params(headNames, headTypes)) // $3: the ids
	insert("event", "events", eventNames, eventTypes, "RETURNING xid, position")
	if parts&withReceipts != 0 {
		insert("receipt", "receipts", receiptNames, receiptTypes, "")
	}
	if parts&withMessages != 0 {
		insert("message", "outbox", dueNames, dueTypes, "")
	}
	if parts&withSnapshots != 0 {
		insert("snapshot", "snapshots", snapshotNames, snapshotTypes, replaceOlder)
	}
	b.WriteString(" SELECT min(xid), array_agg(position), (SELECT passed FROM gated) FROM event")
	return b.String()
}

// forms are the texts of a group's statement, by its parts.
func (s *statements) forms(careful bool) *[16]string {
	if careful {
		return &s.fastForms
	}
	return &s.eagerForms
}

// replaceExpired lets an INSERT of receipts replace those that are expired. One
// that is not makes it fail, with a stored that is NULL.
func replaceExpired(key, cut string) string {
	return fmt.Sprintf(`ON CONFLICT (%s) DO UPDATE SET batch = excluded.batch, version = excluded.version, codec = excluded.codec,
			reply = excluded.reply, time = excluded.time, stored = CASE WHEN s.stored <= %s THEN excluded.stored END`, key, cut)
}

const replaceOlder = `ON CONFLICT (type, id) DO UPDATE SET version = excluded.version, schema = excluded.schema,
			fingerprint = excluded.fingerprint, codec = excluded.codec, data = excluded.data, time = excluded.time
		WHERE excluded.version > s.version`

func newStatements(table func(string) string) statements {
	s := statements{table: table}
	for parts := range s.fastForms {
		s.eagerForms[parts], s.fastForms[parts] = s.eager(parts), s.fast(parts)
	}
	heads, events := table("heads"), table("events")

	// The lock is taken before the transaction gets its number, which is what
	// the horizon of readers relies on: see horizon.go.
	s.lockEvents = "LOCK TABLE " + events + " IN ROW EXCLUSIVE MODE"
	s.lockHeads = fmt.Sprintf(`INSERT INTO %s AS h (type, id, version, events, batch)
		SELECT r.type, r.id, 0, 0, '' FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS r(type, id, ord) ORDER BY r.ord
		ON CONFLICT (type, id) DO UPDATE SET version = h.version
		RETURNING type, id, version, first, batch`, heads)
	// Streams whose heads nobody holds: those that do not exist, too.
	s.freeHeads = fmt.Sprintf(`WITH free AS MATERIALIZED (SELECT h.type, h.id FROM %[1]s h
			WHERE (h.type, h.id) IN (SELECT r.type COLLATE "C", r.id COLLATE "C" FROM unnest($1::text[], $2::text[]) AS r(type, id))
			FOR UPDATE SKIP LOCKED)
		SELECT type, id FROM free
		UNION ALL SELECT r.type, r.id FROM unnest($1::text[], $2::text[]) AS r(type, id)
			WHERE NOT EXISTS (SELECT FROM %[1]s h WHERE %[2]s)`, heads, on("h", "r"))
	s.readHeads = fmt.Sprintf(`SELECT h.type, h.id, h.version, h.first, h.batch FROM unnest($1::text[], $2::text[]) AS r(type, id)
		CROSS JOIN LATERAL (SELECT * FROM %s h WHERE %s OFFSET 0) h`, heads, on("h", "r"))
	s.moveHeads = fmt.Sprintf(`UPDATE %s h SET version = r.version, events = r.events, batch = r.batch
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) AS r(%s) WHERE %s`, heads, headNames, on("h", "r"))
	s.dropAbsent = fmt.Sprintf(`DELETE FROM %s h USING unnest($1::text[], $2::text[]) AS r(type, id) WHERE %s AND h.version = 0`, heads, on("h", "r"))
	s.truncate = fmt.Sprintf("UPDATE %s SET first = $3 WHERE type = $1 AND id = $2", heads)

	insert := func(name, names, types, more string) string {
		return fmt.Sprintf("INSERT INTO %s AS s (%s) SELECT %s FROM %s AS r(%[2]s, ord) ORDER BY r.ord %[5]s",
			table(name), names, prefixed("r.", names), rowsOf(1, types), more)
	}
	s.insertEvents = insert("events", eventNames, eventTypes, "RETURNING type, id, version, xid, position")
	s.insertReceipts = insert("receipts", receiptNames, receiptTypes, replaceExpired("type, id, command", "$10"))
	s.insertInbox = insert("inbox", inboxNames, inboxTypes, replaceExpired("consumer, message", "$9"))
	s.insertOutbox = insert("outbox", dueNames, dueTypes, "")
	s.insertSnapshot = fmt.Sprintf("INSERT INTO %s AS s (%s) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) %s", table("snapshots"), snapshotNames, replaceOlder)
	s.dropSnapshot = fmt.Sprintf("DELETE FROM %s WHERE type = $1 AND id = $2 AND version < $3", table("snapshots"))
	s.insertBatch = fmt.Sprintf("INSERT INTO %s (batch, stored) VALUES ($1, $2) ON CONFLICT (batch) DO UPDATE SET stored = excluded.stored", table("batches"))

	s.findReceipts = fmt.Sprintf(`SELECT r.ord, x.batch, x.version, x.codec, x.reply, x.time
		FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS r(type, id, command, ord)
		CROSS JOIN LATERAL (SELECT * FROM %s x WHERE %s AND x.command = r.command COLLATE "C" AND x.stored > $4 OFFSET 0) x
		ORDER BY r.ord`, table("receipts"), on("x", "r"))
	s.findInbox = fmt.Sprintf(`SELECT r.ord, x.batch, x.version, x.codec, x.reply, x.time
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS r(consumer, message, ord)
		CROSS JOIN LATERAL (SELECT * FROM %s x WHERE x.consumer = r.consumer COLLATE "C" AND x.message = r.message COLLATE "C" AND x.stored > $3 OFFSET 0) x
		ORDER BY r.ord`, table("inbox"))
	s.findMessages = fmt.Sprintf(`SELECT x.message FROM unnest($1::text[]) AS r(message)
		CROSS JOIN LATERAL (SELECT x.message FROM %s x WHERE x.message = r.message COLLATE "C" OFFSET 0) x`, table("outbox"))
	s.findBatch = fmt.Sprintf("SELECT count(*) FROM %s WHERE batch = $1", table("batches"))
	s.findEvent = fmt.Sprintf("SELECT count(*) FROM %s WHERE type = $1 AND id = $2 AND version = $3 AND batch = $4", events)

	s.loadHead = fmt.Sprintf(`SELECT h.version, h.first, s.version, s.schema, s.fingerprint, s.codec, s.data, s.time
		FROM %s h LEFT JOIN %s s ON s.type = h.type AND s.id = h.id AND s.version <= h.version AND s.version >= h.first
		WHERE h.type = $1 AND h.id = $2`, heads, table("snapshots"))
	// Pages end where their data reaches a number of bytes, and have at least
	// one record.
	page := func(behind, upTo string, limit int) string {
		return fmt.Sprintf(`SELECT %s FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY version) AS sofar
				FROM (SELECT * FROM %s WHERE type = $1 AND id = $2 AND version > %s %s ORDER BY version LIMIT $%d) e) e
			WHERE sofar - octet_length(data) < $%d ORDER BY version`, recordColumns, events, behind, upTo, limit, limit+1)
	}
	first := fmt.Sprintf("coalesce((SELECT h.first - 1 FROM %s h WHERE h.type = $1 AND h.id = $2), 0)", heads)
	snapped := fmt.Sprintf(`coalesce((SELECT s.version FROM %s h JOIN %s s ON s.type = h.type AND s.id = h.id
		AND s.version <= h.version AND s.version >= h.first WHERE h.type = $1 AND h.id = $2), 0)`, heads, table("snapshots"))
	s.scavengePage = page("$3", "AND version <= $4", 5)
	s.loadPage = fmt.Sprintf("SELECT %s FROM %s WHERE type = $1 AND id = $2 AND version > $3 AND version <= $4 ORDER BY version LIMIT $5", recordColumns, events)
	s.loadFrom = page("greatest($3, "+first+")", "", 4)
	s.loadLatest = page("greatest("+snapped+", "+first+")", "", 3)
	s.readPage = fmt.Sprintf(`SELECT %s%s FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY xid, position) AS sofar
			FROM (SELECT * FROM %s WHERE (xid, position) > ($1, $2) AND xid < $3 ORDER BY xid, position LIMIT $4) e) e
		WHERE sofar - octet_length(data) < $5 ORDER BY xid, position`, recordColumns, streamColumns, events)
	s.readSlices = strings.Replace(s.readPage, "AND xid < $3", "AND xid < $3 AND slice >= $6 AND slice < $7", 1)

	s.bound = fmt.Sprintf(`SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_offset,
		coalesce((SELECT max(xid) FROM %s), 0) FROM %s`, events, table("settings"))
	s.exactBound = fmt.Sprintf(`WITH now AS MATERIALIZED (SELECT pg_current_snapshot() AS s),
		locks AS MATERIALIZED (SELECT * FROM pg_locks WHERE locktype IN ('relation', 'transactionid') AND granted),
		writing AS (SELECT t.transactionid::text::bigint AS xid, t.pid FROM locks t JOIN locks l
			ON l.virtualtransaction = t.virtualtransaction AND l.pid IS NOT DISTINCT FROM t.pid
			WHERE t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock'
			AND l.locktype = 'relation' AND l.relation = %s::regclass
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
		oldest AS (SELECT x.xid::text::bigint AS xid, coalesce(w.pid, 0) AS pid
			FROM now, pg_snapshot_xip(now.s) AS x(xid) JOIN writing w ON w.xid = (x.xid::text::bigint & 4294967295)
			ORDER BY 1 LIMIT 1)
		SELECT coalesce((SELECT xid FROM oldest), pg_snapshot_xmax(now.s)::text::bigint) + xid_offset,
			coalesce((SELECT pid FROM oldest), 0)
		FROM now, %s`, literal(events), table("settings"))
	s.lag = fmt.Sprintf(`SELECT
		coalesce((SELECT xid FROM %[1]s WHERE xid < $3 ORDER BY xid DESC, position DESC LIMIT 1), 0),
		coalesce((SELECT position FROM %[1]s WHERE xid < $3 ORDER BY xid DESC, position DESC LIMIT 1), 0),
		(SELECT count(*) FROM %[1]s WHERE (xid, position) > ($1, $2) AND xid < $3),
		(SELECT time FROM %[1]s WHERE (xid, position) > ($1, $2) AND xid < $3 ORDER BY xid, position LIMIT 1),
		(SELECT count(*) FROM %[1]s WHERE xid >= $3)`, events)

	s.nextTruncated = fmt.Sprintf("SELECT type, id, kept, first FROM %s WHERE kept < first AND (type, id) > ($1, $2) ORDER BY type, id LIMIT 1", heads)
	s.scavengeEvents = fmt.Sprintf("DELETE FROM %s WHERE type = $1 AND id = $2 AND version >= $3 AND version <= $4", events)
	s.scavengeHead = fmt.Sprintf("UPDATE %s SET kept = $3 WHERE type = $1 AND id = $2 AND kept < $3", heads)
	s.receipt = fmt.Sprintf("SELECT version, codec, reply, time FROM %s WHERE type = $1 AND id = $2 AND command = $3 AND stored > $4", table("receipts"))
	s.inboxReceipt = fmt.Sprintf("SELECT version, codec, reply, time FROM %s WHERE consumer = $1 AND message = $2 AND stored > $3", table("inbox"))
	s.messages = fmt.Sprintf(`SELECT position, %s FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY position) AS sofar
			FROM (SELECT * FROM %s WHERE position > $1 AND parked IS NULL AND due = 0 ORDER BY position LIMIT $2) m) m
		WHERE sofar - octet_length(data) < $3 ORDER BY position`, outboxNames, table("outbox"))
	s.outboxStatements()
	return s
}

// outboxStatements are those of dispatchers. Times of leases are the server's.
func (s *statements) outboxStatements() {
	outbox, leases := s.table("outbox"), s.table("outbox_leases")
	const now, later = "clock_timestamp()", "clock_timestamp() + %s * interval '1 microsecond'"
	s.lockLeases = "LOCK TABLE " + leases + " IN SHARE ROW EXCLUSIVE MODE"
	s.sweepLeases = "DELETE FROM " + leases + " WHERE until <= " + now
	s.takeLease = fmt.Sprintf(`INSERT INTO %s (token, first, last, owner, until)
		SELECT $1, $2, $3, $4, %s WHERE NOT EXISTS (SELECT FROM %[1]s l
			WHERE l.token <> $1 AND l.until > %[3]s AND greatest(l.first, $2) < least(l.last, $3))
		ON CONFLICT (token, first, last) DO UPDATE SET owner = excluded.owner, until = excluded.until`,
		leases, fmt.Sprintf(later, "$5"), now)
	s.renewLeases = fmt.Sprintf("UPDATE %s SET until = %s WHERE token = $1 AND until > %s RETURNING first, last", leases, fmt.Sprintf(later, "$2"), now)
	s.releaseLease = fmt.Sprintf("DELETE FROM %s WHERE token = $1 AND first = $2 AND last = $3", leases)
	s.leases = fmt.Sprintf(`SELECT token, owner, first, last, (extract(epoch FROM until - %s) * 1000000)::bigint
		FROM %s WHERE until > %[1]s ORDER BY first, last, token`, now, leases)

	// Who has all slots, as the only dispatcher does, need not be asked for each.
	s.pending = fmt.Sprintf("SELECT position, %s FROM %s WHERE position > $1 AND parked IS NULL AND due = 0", outboxNames, outbox)
	s.delayed = "SELECT position, due FROM " + outbox + " WHERE due > 0"
	held := fmt.Sprintf(`(coalesce((SELECT bool_and(first <= coalesce(reached, 0)) AND max(last) = %d
			FROM (SELECT first, last, max(last) OVER (ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
				FROM %s l WHERE l.token = $2 AND l.until > %s) l), false)
		OR EXISTS (SELECT FROM %[2]s l WHERE l.token = $2 AND l.until > %[3]s AND o.slot >= l.first AND o.slot < l.last))`, envelope.Slots, leases, now)
	s.deletePublished = fmt.Sprintf("DELETE FROM %s o WHERE position = ANY ($1::bigint[]) AND %s", outbox, held)
	s.park = fmt.Sprintf(`UPDATE %s o SET parked = r.parked, reason = r.reason, attempts = r.attempts, behind = r.behind, ordered = 0, due = 0
		FROM unnest($1::bigint[], $3::timestamptz[], $4::text[], $5::int[], $6::boolean[]) AS r(position, parked, reason, attempts, behind)
		WHERE o.position = r.position AND %s`, outbox, held)
	s.unpark = fmt.Sprintf(`UPDATE %s o SET parked = NULL, reason = NULL, attempts = NULL, behind = NULL, ordered = NULL, due = 0
		WHERE position = ANY ($1::bigint[]) AND (parked IS NOT NULL OR due > 0) AND %s`, outbox, held)
	s.unsettled = fmt.Sprintf("SELECT EXISTS (SELECT FROM %s o WHERE position = ANY ($1::bigint[]) AND NOT %s)", outbox, held)
	s.parked = fmt.Sprintf(`SELECT position, %s, parked, reason, attempts, behind, ordered
		FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY position) AS sofar
			FROM (SELECT * FROM %s WHERE position > $1 AND %%s ORDER BY position LIMIT $2) m) m
		WHERE sofar - octet_length(data) < $3 ORDER BY position`, outboxNames, outbox)
	s.orderParked = "UPDATE " + outbox + " SET ordered = $1 WHERE %s"
	s.figures = fmt.Sprintf(`SELECT (SELECT count(*) FROM %[1]s WHERE parked IS NULL AND due = 0),
		(SELECT count(*) FROM %[1]s WHERE parked IS NOT NULL), (SELECT count(*) FROM %[1]s WHERE due > 0),
		(SELECT time FROM %[1]s WHERE parked IS NULL AND due = 0 ORDER BY position LIMIT 1)`, outbox)
	s.lastMessage = fmt.Sprintf("SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, 'position')::regclass), 0)", literal(outbox))
	// Of $1, or of everybody if that is empty.
	s.outboxWriters = fmt.Sprintf(`SELECT DISTINCT virtualtransaction FROM pg_locks
		WHERE locktype = 'relation' AND relation = %s::regclass AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		AND (coalesce(cardinality($1::text[]), 0) = 0 OR virtualtransaction = ANY ($1::text[]))`, literal(outbox))
}

// literal is a name as a text constant, quotes and all.
func literal(name string) string { return "'" + strings.ReplaceAll(name, "'", "''") + "'" }
