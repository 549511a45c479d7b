package microsvc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/lock"
	"github.com/troupe-go/troupe/outbox"
)

// Codes beside those of package aggregate.
const (
	CodeUnknownCommand aggregate.Code = "unknown_command"
	CodeDecode         aggregate.Code = "decode"
	CodeGuard          aggregate.Code = "guard"
	CodeDeadline       aggregate.Code = "deadline"
	CodeCanceled       aggregate.Code = "canceled"
	CodeLockHeld       aggregate.Code = "lock_held"
)

const maskedText = "internal server error"

// kind is one kind of error as it crosses a boundary.
type kind struct {
	code     aggregate.Code
	sentinel error
	status   int
	text     string // for a remote caller; empty means the error's own
}

// kinds are all of the framework's errors. The first that an error is decides its
// status; the others are told along.
var kinds = []kind{
	{CodeUnknownCommand, ErrUnknownCommand, http.StatusNotFound, ""},
	{CodeDecode, ErrDecode, http.StatusBadRequest, ""},
	// An outcome that nobody knows may wrap the reason why, so it comes first.
	{aggregate.CodeUnknownOutcome, aggregate.ErrUnknownOutcome, http.StatusGatewayTimeout, "the outcome is not known: ask again with the same idempotency key"},
	{aggregate.CodeNotRun, aggregate.ErrNotRun, http.StatusGatewayTimeout, "the command was not run in time"},
	{aggregate.CodeNotFound, aggregate.ErrNotFound, http.StatusNotFound, ""},
	{aggregate.CodeUnauthorized, aggregate.ErrUnauthorized, http.StatusUnauthorized, ""},
	{aggregate.CodeRejected, aggregate.ErrRejected, http.StatusUnprocessableEntity, ""},
	{aggregate.CodeInvalid, aggregate.ErrInvalid, http.StatusBadRequest, ""},
	{CodeGuard, ErrGuard, http.StatusBadRequest, ""},
	{aggregate.CodeConflict, aggregate.ErrConflict, http.StatusConflict, "conflict with others' changes: ask again"},
	{CodeLockHeld, lock.ErrHeld, http.StatusConflict, "held by another: ask again later"},
	{aggregate.CodeOverloaded, aggregate.ErrOverloaded, http.StatusTooManyRequests, "overloaded: ask again later"},
	{aggregate.CodeUnavailable, aggregate.ErrUnavailable, http.StatusServiceUnavailable, "unavailable: ask again later"},
	{aggregate.CodeStopped, aggregate.ErrStopped, http.StatusServiceUnavailable, "the service is stopping: ask again later"},
	{aggregate.CodePanic, aggregate.ErrPanic, http.StatusInternalServerError, maskedText},
	{"bus_unavailable", bus.ErrUnavailable, http.StatusServiceUnavailable, "unavailable: ask again later"},
	{CodeDeadline, context.DeadlineExceeded, http.StatusGatewayTimeout, "the deadline is over"},
	internal(CodeCanceled, context.Canceled),
	internal("replay", aggregate.ErrReplay),
	internal("unknown_event", aggregate.ErrUnknownEvent),
	internal("unknown_schema", aggregate.ErrUnknownSchema),
	internal("snapshot_unfit", aggregate.ErrSnapshotUnfit),
	internal("lock_order", aggregate.ErrLockOrder),
	internal("not_held", aggregate.ErrNotHeld),
	internal("lock_lost", lock.ErrLost),
	internal("unknown_codec", envelope.ErrUnknownCodec),
	internal("duplicate", journal.ErrDuplicate),
	internal("row_conflict", journal.ErrRowConflict),
	internal("message_exists", journal.ErrMessageExists),
	internal("fenced", journal.ErrFenced),
	internal("journal_unsupported", journal.ErrUnsupported),
	internal("history_gone", journal.ErrHistoryGone),
	internal("corrupt", journal.ErrCorrupt),
	internal("locked", journal.ErrLocked),
	internal("journal_closed", journal.ErrClosed),
	internal("lease_lost", journal.ErrLeaseLost),
	internal("bus_refused", bus.ErrRefused),
	internal("bus_unroutable", bus.ErrUnroutable),
	internal("bus_unauthorized", bus.ErrUnauthorized),
	internal("bus_unsupported", bus.ErrUnsupported),
	internal("bus_malformed", bus.ErrMalformed),
	internal("bus_not_found", bus.ErrNotFound),
	internal("bus_closed", bus.ErrClosed),
	internal("bus_stopped", bus.ErrStopped),
	internal("bus_not_drained", bus.ErrNotDrained),
	internal("bus_panic", bus.ErrPanic),
	internal("bus_unhandled", bus.ErrUnhandled),
	internal("inbox_committed", bus.ErrInboxCommitted),
	internal("inbox_journal", bus.ErrInboxJournal),
	internal("outbox_running", outbox.ErrRunning),
	internal("name_taken", ErrNameTaken),
	internal("no_handler", ErrNoHandler),
	internal("no_host", ErrNoHost),
	internal("no_bus", ErrNoBus),
	internal("started", ErrStarted),
}

func internal(code aggregate.Code, sentinel error) kind {
	return kind{code, sentinel, http.StatusInternalServerError, maskedText}
}

// kindsOf returns the kinds that err is, or that of an unknown error.
func kindsOf(err error) (first kind, also []aggregate.Code) {
	// A mistake in the program's set-up is never the caller's, whatever it is made of.
	var setup *SetupError
	first = kind{aggregate.CodeInternal, nil, http.StatusInternalServerError, maskedText}
	own := errors.As(err, &setup)
	for _, k := range kinds {
		switch {
		case !errors.Is(err, k.sentinel):
		case own:
			also = append(also, k.code)
		case first.sentinel == nil:
			first = k
		default:
			also = append(also, k.code)
		}
	}
	return first, also
}

// Status is the HTTP status of what a call answered: 200 for nil, 400 for an
// input that cannot be decoded or is invalid, and for a guard, 401 unauthorized,
// 404 for an unknown command and for what is not found, 409 conflict, 422
// rejected, 429 overloaded, 503 unavailable or stopping, 504 when time is over,
// and 500 for everything else.
func Status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	first, _ := kindsOf(err)
	return first.status
}

// CodeOf is the code that a client takes a status below 500 for, where nothing else
// tells: of a proxy, or of a service that is none of ours. It is
// [aggregate.CodeUnknownOutcome] for others: of a proxy's 502, 503 and 504 nobody
// knows what they cut off.
func CodeOf(status int) aggregate.Code {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return aggregate.CodeUnauthorized
	case http.StatusNotFound:
		return aggregate.CodeNotFound
	case http.StatusConflict:
		return aggregate.CodeConflict
	case http.StatusUnprocessableEntity:
		return aggregate.CodeRejected
	case http.StatusTooManyRequests:
		return aggregate.CodeOverloaded
	}
	if status >= 400 && status < 500 {
		return aggregate.CodeInvalid
	}
	return aggregate.CodeUnknownOutcome
}

// Problem is an error as a caller in another process gets it: [errors.Is] finds
// those of the framework that the handler's error was.
type Problem struct {
	Status     int
	Code       aggregate.Code   // decides what to do; [aggregate.CodeInternal] for what the framework does not know
	Also       []aggregate.Code // what the error was besides
	Message    string           // for the caller
	ID         string           // under which the service's log has the whole of it
	RetryAfter time.Duration    // when to ask again; zero if the service does not say
}

func (p *Problem) Error() string { return p.Message }

// Is reports whether target is an error that one of the problem's codes stands
// for.
func (p *Problem) Is(target error) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool {
		return k.sentinel == target && (k.code == p.Code || slices.Contains(p.Also, k.code))
	})
}

// Permanent reports whether the same command would fail again: as it would for the
// handler's error itself, see [bus.IsPermanent].
func (p *Problem) Permanent() bool {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.code == p.Code })
	return i >= 0 && bus.IsPermanent(kinds[i].sentinel)
}

// problemOf makes what a remote caller may see of err.
func problemOf(err error, id string, retryAfter time.Duration) *Problem {
	var remote *Problem
	if errors.As(err, &remote) { // of another service that the handler asked
		p := *remote
		p.ID = id
		if p.Status >= http.StatusInternalServerError {
			p.Message = textOf(p.Code)
		}
		return &p
	}
	k, also := kindsOf(err)
	p := &Problem{Status: k.status, Code: k.code, Also: also, Message: k.text, ID: id}
	var coded *aggregate.Error
	switch {
	case k.status >= http.StatusInternalServerError:
	case errors.As(err, &coded) && coded.Code == k.code:
		p.Message = coded.Message // made for the caller; what wraps it was not
	case k.text == "":
		p.Message = err.Error()
	}
	if k.status == http.StatusTooManyRequests || k.status == http.StatusServiceUnavailable {
		p.RetryAfter = retryAfter
	}
	return p
}

func textOf(code aggregate.Code) string {
	for _, k := range kinds {
		if k.code == code && k.text != "" {
			return k.text
		}
	}
	return maskedText
}
