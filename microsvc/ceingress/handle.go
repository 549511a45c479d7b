package ceingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// request is the messages of a request as a [bus.Source]. A run over it gives
// them the runner's lanes, its inbox and its care for panics.
type request struct{ waiting []bus.Delivery }

var (
	_ bus.Source   = (*request)(nil)
	_ bus.Delivery = delivery{}
)

// delivery is one message of a request. Whatever the run does with it, the sender
// is told by the answer.
type delivery struct{ message *envelope.Message }

func (d delivery) Message() *envelope.Message                  { return d.message }
func (delivery) Malformed() error                              { return nil }
func (delivery) Attempt() int                                  { return 1 }
func (delivery) Resent() bool                                  { return false }
func (delivery) Ack(context.Context) error                     { return nil }
func (delivery) Retry(context.Context, time.Duration) error    { return nil }
func (delivery) DeadLetter(context.Context, bus.Failure) error { return nil }
func (delivery) Extend(context.Context) error                  { return nil }
func (*request) Order() bus.Order                              { return bus.OrderedAlways } // the rest of a key waits for the request's repeat
func (*request) Lease() time.Duration                          { return 0 }
func (*request) Close(context.Context) error                   { return nil }

// Receive implements [bus.Source].
func (r *request) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	if err := ctx.Err(); err != nil { // the sender went away: nothing is begun
		return nil, err
	}
	n := min(limit, len(r.waiting))
	if n == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	next := r.waiting[:n]
	r.waiting = r.waiting[n:]
	return next, nil
}

// outcomes is what became of the messages of a request. A handler that is left
// running may still write to it.
type outcomes struct {
	mu sync.Mutex
	of map[*envelope.Message]bus.Settled
}

func (o *outcomes) observe(s bus.Settled) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of[s.Message] = s
}

// handle has messages handled, and returns a problem for each that was not.
func (in *Ingress) handle(ctx context.Context, messages []*envelope.Message) []*microsvc.Problem {
	settled := outcomes{of: make(map[*envelope.Message]bus.Settled, len(messages))}
	source := &request{waiting: make([]bus.Delivery, len(messages))}
	for i, m := range messages {
		source.waiting[i] = delivery{m}
	}
	run := in.run
	run.Limit = len(messages)
	run.Observe = func(s bus.Settled) {
		settled.observe(s)
		if in.run.Observe != nil {
			in.run.Observe(s)
		}
	}
	var failed error
	if len(messages) > 0 {
		failed = bus.RunSource(ctx, source, router{in}, run)
	}
	problems := make([]*microsvc.Problem, len(messages))
	settled.mu.Lock()
	defer settled.mu.Unlock()
	for i, m := range messages {
		problems[i] = in.problem(ctx, m, settled.of[m], failed)
	}
	return problems
}

// router has the service handle what this endpoint takes.
type router struct{ in *Ingress }

func (r router) Plan() (bus.Plan, error) { return r.in.service.Plan() }

func (r router) Handle(ctx context.Context, m *envelope.Message) error {
	if r.in.opts.EventsOnly && m.Kind == envelope.KindCommand {
		return aggregate.Unauthorized("commands are not taken here")
	}
	return r.in.service.Handle(ctx, m)
}

// problem is the answer for one message: nil for 200, or 503 or 422.
func (in *Ingress) problem(ctx context.Context, m *envelope.Message, s bus.Settled, failed error) *microsvc.Problem {
	var p *microsvc.Problem
	switch s.Outcome {
	case bus.Handled, bus.Duplicate, bus.Dropped:
		return nil
	case bus.Unhandled:
		return &microsvc.Problem{Status: http.StatusUnprocessableEntity, Code: microsvc.CodeUnknownCommand, Message: fmt.Sprintf("nothing handles %s %q", m.Kind, m.Name), ID: m.ID}
	case bus.DeadLettered, bus.Parked:
		p = in.service.Problem(ctx, s.Err, m.Name, m.ID)
		p.Status, p.RetryAfter = http.StatusUnprocessableEntity, 0
		return p
	case bus.Retried:
		p = in.service.Problem(ctx, s.Err, m.Name, m.ID)
	default: // behind one of its key that failed, or its handler did not end
		text := "was not begun: send it again"
		if errors.Is(failed, bus.ErrNotDrained) {
			text = "has no outcome yet: send it again"
		}
		p = &microsvc.Problem{Code: aggregate.CodeUnavailable, Message: text, ID: m.ID}
	}
	p.Status = http.StatusServiceUnavailable
	p.RetryAfter = max(p.RetryAfter, in.opts.RetryAfter)
	return p
}

// failure is the body of an answer that is not 200.
type failure struct {
	Error  string           `json:"error"`
	Code   aggregate.Code   `json:"code,omitempty"`
	Also   []aggregate.Code `json:"also,omitempty"`
	ID     string           `json:"id,omitempty"`
	Events []eventStatus    `json:"events,omitempty"` // of a batch, in its order
}

// eventStatus is what became of one event of a batch.
type eventStatus struct {
	ID     string         `json:"id"`
	Status int            `json:"status"`
	Code   aggregate.Code `json:"code,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// answer tells the sender. If anything is to be sent again, all of the request
// is: what was handled is told by its id then.
func (in *Ingress) answer(w http.ResponseWriter, mode mode, messages []*envelope.Message, problems []*microsvc.Problem) {
	var worst *microsvc.Problem
	failed := 0
	for _, p := range problems {
		if p == nil {
			continue
		}
		failed++
		if worst == nil || p.Status > worst.Status {
			worst = p
		}
	}
	switch {
	case worst == nil:
		// Without a body: a broker takes one for an event to publish.
		write(w, http.StatusOK, nil)
		return
	case mode != batched:
		in.refuse(w, worst)
		return
	}
	body := failure{
		Error: fmt.Sprintf("%d of %d events failed, one of them: %s", failed, len(messages), worst.Message),
		Code:  worst.Code, Also: worst.Also, ID: worst.ID, Events: make([]eventStatus, len(messages)),
	}
	for i, m := range messages {
		body.Events[i] = eventStatus{ID: m.ID, Status: http.StatusOK}
		if p := problems[i]; p != nil {
			body.Events[i] = eventStatus{m.ID, p.Status, p.Code, p.Message}
			worst.RetryAfter = max(worst.RetryAfter, p.RetryAfter)
		}
	}
	in.fail(w, worst, body)
}

func (in *Ingress) refuse(w http.ResponseWriter, p *microsvc.Problem) {
	in.fail(w, p, failure{Error: p.Message, Code: p.Code, Also: p.Also, ID: p.ID})
}

func (in *Ingress) fail(w http.ResponseWriter, p *microsvc.Problem, body failure) {
	if p.Status == http.StatusServiceUnavailable {
		wait := max(p.RetryAfter, in.opts.RetryAfter)
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	data, _ := json.Marshal(body) // of strings and numbers there is no error
	write(w, p.Status, data)
}

func write(w http.ResponseWriter, status int, body []byte) {
	if body != nil {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a sender that is gone cannot be told
}
