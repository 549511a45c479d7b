package microsvctest

import (
	"context"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/outbox"
)

// Sentinel is an error that callers branch on.
type Sentinel struct {
	Name string // as in "aggregate.ErrRejected"
	Err  error
}

// Sentinels are the framework's errors that a handler may return: behind each
// boundary errors.Is finds them. A test compares the names with the sources.
var Sentinels = []Sentinel{
	{"aggregate.ErrRejected", aggregate.ErrRejected},
	{"aggregate.ErrNotFound", aggregate.ErrNotFound},
	{"aggregate.ErrUnauthorized", aggregate.ErrUnauthorized},
	{"aggregate.ErrInvalid", aggregate.ErrInvalid},
	{"aggregate.ErrConflict", aggregate.ErrConflict},
	{"aggregate.ErrOverloaded", aggregate.ErrOverloaded},
	{"aggregate.ErrUnavailable", aggregate.ErrUnavailable},
	{"aggregate.ErrUnknownOutcome", aggregate.ErrUnknownOutcome},
	{"aggregate.ErrNotRun", aggregate.ErrNotRun},
	{"aggregate.ErrStopped", aggregate.ErrStopped},
	{"aggregate.ErrPanic", aggregate.ErrPanic},
	{"aggregate.ErrReplay", aggregate.ErrReplay},
	{"aggregate.ErrUnknownEvent", aggregate.ErrUnknownEvent},
	{"aggregate.ErrUnknownSchema", aggregate.ErrUnknownSchema},
	{"aggregate.ErrSnapshotUnfit", aggregate.ErrSnapshotUnfit},
	{"aggregate.ErrLockOrder", aggregate.ErrLockOrder},
	{"aggregate.ErrNotHeld", aggregate.ErrNotHeld},
	{"actor.ErrLockOrder", actor.ErrLockOrder},
	{"actor.ErrNotHeld", actor.ErrNotHeld},
	{"lock.ErrHeld", lock.ErrHeld},
	{"lock.ErrLost", lock.ErrLost},
	{"envelope.ErrInvalid", envelope.ErrInvalid},
	{"envelope.ErrUnknownCodec", envelope.ErrUnknownCodec},
	{"journal.ErrConflict", journal.ErrConflict},
	{"journal.ErrDuplicate", journal.ErrDuplicate},
	{"journal.ErrRowConflict", journal.ErrRowConflict},
	{"journal.ErrMessageExists", journal.ErrMessageExists},
	{"journal.ErrFenced", journal.ErrFenced},
	{"journal.ErrInvalid", journal.ErrInvalid},
	{"journal.ErrUnsupported", journal.ErrUnsupported},
	{"journal.ErrUnavailable", journal.ErrUnavailable},
	{"journal.ErrOverloaded", journal.ErrOverloaded},
	{"journal.ErrUnknownOutcome", journal.ErrUnknownOutcome},
	{"journal.ErrHistoryGone", journal.ErrHistoryGone},
	{"journal.ErrCorrupt", journal.ErrCorrupt},
	{"journal.ErrLocked", journal.ErrLocked},
	{"journal.ErrClosed", journal.ErrClosed},
	{"journal.ErrLeaseLost", journal.ErrLeaseLost},
	{"bus.ErrInvalid", bus.ErrInvalid},
	{"bus.ErrRefused", bus.ErrRefused},
	{"bus.ErrUnavailable", bus.ErrUnavailable},
	{"bus.ErrUnroutable", bus.ErrUnroutable},
	{"bus.ErrUnauthorized", bus.ErrUnauthorized},
	{"bus.ErrUnsupported", bus.ErrUnsupported},
	{"bus.ErrMalformed", bus.ErrMalformed},
	{"bus.ErrNotFound", bus.ErrNotFound},
	{"bus.ErrClosed", bus.ErrClosed},
	{"bus.ErrStopped", bus.ErrStopped},
	{"bus.ErrNotDrained", bus.ErrNotDrained},
	{"bus.ErrPanic", bus.ErrPanic},
	{"bus.ErrInboxCommitted", bus.ErrInboxCommitted},
	{"bus.ErrInboxJournal", bus.ErrInboxJournal},
	{"bus.ErrUnhandled", bus.ErrUnhandled},
	{"outbox.ErrRunning", outbox.ErrRunning},
	{"microsvc.ErrUnknownCommand", microsvc.ErrUnknownCommand},
	{"microsvc.ErrDecode", microsvc.ErrDecode},
	{"microsvc.ErrGuard", microsvc.ErrGuard},
	{"microsvc.ErrNameTaken", microsvc.ErrNameTaken},
	{"microsvc.ErrNoHandler", microsvc.ErrNoHandler},
	{"microsvc.ErrNoHost", microsvc.ErrNoHost},
	{"microsvc.ErrNoBus", microsvc.ErrNoBus},
	{"microsvc.ErrStarted", microsvc.ErrStarted},
	{"context.DeadlineExceeded", context.DeadlineExceeded},
	{"context.Canceled", context.Canceled},
}

// Elsewhere are the exported errors that no handler returns, with the reason.
var Elsewhere = map[string]string{
	"bus/kafkabus.ErrSettings":       "of Connect and Run; it is a bus.ErrInvalid",
	"bus/natsbus.ErrJetStream":       "of Connect; it comes with bus.ErrInvalid",
	"bus/natsbus.ErrSettings":        "of Connect and Run; it is a bus.ErrInvalid",
	"bus/pgbus.ErrSchema":            "of Connect",
	"bus/rabbitbus.ErrArguments":     "of Connect and Run; it is a bus.ErrInvalid",
	"bus/rabbitbus.ErrVhost":         "of Connect; it comes with bus.ErrInvalid",
	"journal/postgres.ErrSchema":     "of Open",
	"journal/postgres.ErrUnfit":      "of Open",
	"journal/sqlite.ErrSchema":       "of Open",
	"microsvc/grpcapi.ErrRegistered": "of Register",
	"microsvc/grpcapi.ErrNotDrained": "of Serve",
	"microsvc/httpapi.ErrNotDrained": "of Serve",
}
