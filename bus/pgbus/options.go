package pgbus

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Options tune a bus. Group is required; the zero value of the others is the
// default.
type Options struct {
	// Group is the service: its replicas compete for messages, and each group
	// gets a copy of every event.
	Group string

	// Namespace is the prefix of all names of one application: buses of
	// different namespaces do not see each other's messages. Empty is one, too.
	Namespace string

	// Schema is the PostgreSQL schema of the tables. Empty means "troupe", that
	// of a journal.
	Schema string

	// Lease is how long a replica keeps what it was given without a sign of
	// life: the time until another one takes over from one that was killed or
	// frozen. Zero means 10 seconds; at least 100 ms.
	Lease time.Duration

	// Poll is how often the tables are looked at when no notification arrives.
	// Zero means 1 second.
	Poll time.Duration

	// Retain is how long events are kept, for groups that subscribe for the
	// first time. What a group has not handled yet is kept longer, however
	// long. Zero means 7 days.
	Retain time.Duration

	// MaxConns bounds the connections of the bus. Zero means 8.
	MaxConns int32

	// ConnectTimeout bounds making a connection, StatementTimeout a statement.
	// Zero means 5 seconds and 10 seconds.
	ConnectTimeout, StatementTimeout time.Duration

	// Logger gets reconnections and losses of a lease. Nil means
	// slog.Default().
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	if err := envelope.ValidateName("group", d.Group, envelope.MaxNameBytes); err != nil {
		return d, err
	}
	if d.Namespace != "" {
		if err := envelope.ValidateName("namespace", d.Namespace, envelope.MaxNameBytes); err != nil {
			return d, err
		}
	}
	if d.Schema == "" {
		d.Schema = "troupe"
	}
	if err := envelope.ValidateName("schema", d.Schema, 63); err != nil { // PostgreSQL's limit of a name
		return d, err
	}
	for _, t := range []struct {
		field string
		value *time.Duration
		def   time.Duration
	}{
		{"Lease", &d.Lease, 10 * time.Second}, {"Poll", &d.Poll, time.Second}, {"Retain", &d.Retain, 7 * 24 * time.Hour},
		{"ConnectTimeout", &d.ConnectTimeout, 5 * time.Second}, {"StatementTimeout", &d.StatementTimeout, 10 * time.Second},
	} {
		if *t.value < 0 {
			return d, envelope.Invalid(t.field, t.value.String(), "is negative")
		}
		if *t.value == 0 {
			*t.value = t.def
		}
	}
	if d.Lease < 100*time.Millisecond {
		return d, envelope.Invalid("Lease", d.Lease.String(), "is less than 100 ms")
	}
	if d.MaxConns < 0 || d.MaxConns > 0 && d.MaxConns < 2 {
		return d, envelope.Invalid("MaxConns", fmt.Sprint(d.MaxConns), "is less than 2")
	}
	if d.MaxConns == 0 {
		d.MaxConns = 8
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return d, nil
}
