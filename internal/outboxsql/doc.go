// Package outboxsql has what the outboxes of SQL journals have in common: pieces of
// their queries, and how a time is stored.
package outboxsql
