package microsvc

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// HandlerFunc answers one call; the reply is encoded as JSON. That of an event is
// dropped.
type HandlerFunc func(*Context) (any, error)

// EventFunc handles one event; see [bus.HandlerFunc] for what its result means.
type EventFunc func(*Context) error

// Handler is a handler with its names and guards, to be registered by
// [Service.Register]. It is immutable: one value may be exported by a file and
// registered with several services.
type Handler struct {
	kind   envelope.Kind
	names  []string
	guards []Guard
	types  types
	bind   func(hosts []any) (HandlerFunc, error)
}

// types are those of a command's input and reply.
type types struct{ in, out reflect.Type }

// Guarded returns the handler with guards behind those that it has.
func (h Handler) Guarded(guards ...Guard) Handler {
	h.guards = slices.Concat(h.guards, guards)
	return h
}

// Names returns what the handler is for.
func (h Handler) Names() []string { return slices.Clone(h.names) }

// Expose makes an aggregate's command a command of the service, under its name.
// to hosts the aggregates; with nil, one of [Service.WithHosts] does, so that the
// handler can be a package variable.
//
// An idempotency key makes the command's id: see [Context.CommandID].
func Expose[A any, In aggregate.Identified, Out any](cmd *aggregate.Command[A, In, Out], to aggregate.Asker[A], guards ...Guard) Handler {
	h := Handler{
		kind: envelope.KindCommand, names: []string{""}, guards: slices.Clone(guards),
		types: types{reflect.TypeFor[In](), reflect.TypeFor[Out]()},
	}
	if cmd == nil {
		return h
	}
	h.names[0] = cmd.Name()
	h.bind = func(hosts []any) (HandlerFunc, error) {
		host := to
		if isNil(host) {
			var err error
			if host, err = hostOf[A](hosts); err != nil {
				return nil, err
			}
		}
		return func(c *Context) (any, error) {
			in, err := Input[In](c)
			if err != nil {
				return nil, err
			}
			var opts []aggregate.AskOption
			if id := c.CommandID(); id != "" {
				opts = []aggregate.AskOption{aggregate.WithCommandID(id)}
			}
			out, err := cmd.Ask(c, host, in, opts...)
			if err != nil {
				return nil, err
			}
			return out, nil
		}, nil
	}
	return h
}

// React has an aggregate's command handle the events called event: a service that
// does its part when it hears what happened elsewhere, and a saga that goes on.
// The event's payload is the command's input, and names the aggregate. to is as in
// [Expose]. A refusal of the command is a failure for good, see [bus.RunOptions]:
// what should not be one is an event, or nothing.
func React[A any, In aggregate.Identified, Out any](event string, cmd *aggregate.Command[A, In, Out], to aggregate.Asker[A], guards ...Guard) Handler {
	h := Expose(cmd, to, guards...)
	h.kind, h.names, h.types = envelope.KindEvent, []string{event}, types{}
	return h
}

// HostOf returns what hosts the aggregates of type A, as [Service.WithHosts] was
// given it: for a function that asks aggregates, or reads one by the host's own
// Peek. The first one of that type counts.
//
// Errors: [ErrNoHost].
func HostOf[A any](c *Context) (aggregate.Asker[A], error) {
	host, err := hostOf[A](c.service.hosts)
	if err != nil {
		return nil, bus.Permanent(fmt.Errorf("microsvc: %q %w", c.Name(), err))
	}
	return host, nil
}

func hostOf[A any](hosts []any) (aggregate.Asker[A], error) {
	for _, h := range hosts {
		if host, ok := h.(aggregate.Asker[A]); ok && !isNil(host) {
			return host, nil
		}
	}
	return nil, fmt.Errorf("%w %s", ErrNoHost, reflect.TypeFor[A]())
}

func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || r.Kind() == reflect.Pointer && r.IsNil()
}

// Handle makes a command of a function. An error that has no code of package
// aggregate is an internal one: its text does not leave the service. Make one
// for the caller with [aggregate.Reject] and its siblings.
//
// f may run again for a caller that repeats its call: what it asks of aggregates
// has one effect if it is asked with [Context.CommandID].
func Handle[In, Out any](name string, f func(*Context, In) (Out, error), guards ...Guard) Handler {
	h := Handler{
		kind: envelope.KindCommand, names: []string{name}, guards: slices.Clone(guards),
		types: types{reflect.TypeFor[In](), reflect.TypeFor[Out]()},
	}
	if f != nil {
		h.bind = bound(func(c *Context) (any, error) {
			in, err := Input[In](c)
			if err != nil {
				return nil, err
			}
			out, err := f(c, in)
			if err != nil {
				return nil, err
			}
			return out, nil
		})
	}
	return h
}

// On makes a handler of the events called name. See [bus.HandlerFunc] for what
// its result means.
func On[In any](name string, f func(*Context, In) error, guards ...Guard) Handler {
	return OnEach([]string{name}, f, guards...)
}

// OnEach is [On] for events of several names; [Context.Name] tells which.
func OnEach[In any](names []string, f func(*Context, In) error, guards ...Guard) Handler {
	if f == nil {
		return onEvents(names, nil, guards)
	}
	return onEvents(names, func(c *Context) error {
		in, err := Input[In](c)
		if err != nil {
			return err
		}
		return f(c, in)
	}, guards)
}

func onEvents(names []string, f EventFunc, guards []Guard) Handler {
	h := Handler{kind: envelope.KindEvent, names: slices.Clone(names), guards: slices.Clone(guards)}
	if f != nil {
		h.bind = bound(func(c *Context) (any, error) { return nil, f(c) })
	}
	return h
}

func bound(f HandlerFunc) func([]any) (HandlerFunc, error) {
	return func([]any) (HandlerFunc, error) { return f, nil }
}
