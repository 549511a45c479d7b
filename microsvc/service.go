package microsvc

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/outbox"
)

// Options tune a [Service]. The zero Options means all defaults.
type Options struct {
	// UserKey and RoleKey are the session variables that [Context.UserID] and
	// [Context.Role] return. Empty means [KeyUserID] and [KeyRole].
	UserKey, RoleKey string

	// Propagate names session variables that become metadata of what a call
	// gives rise to: they are stored with events, and travel with messages.
	// Empty means none. Correlation and causation always travel.
	Propagate []string

	// StrictInput refuses inputs with fields that the handler does not know.
	StrictInput bool

	// MaxDepth bounds how deep an input is nested. Zero means 100.
	MaxDepth int

	// RetryAfter is when callers are told to ask again while the service is
	// overloaded, unavailable or stopping. Zero means 1 second.
	RetryAfter time.Duration

	// Codecs decode messages of a bus that are not JSON. Nil means JSON alone.
	Codecs *envelope.Codecs

	// Logger gets the full text of what callers are not told. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// Service is a set of commands and events with their handlers. Make one with
// [New] and register everything before the first use: the first call, run or
// transport puts it together. Then it is safe for concurrent use.
//
// Registering never fails at once; [Service.Check] tells every mistake, and so
// does whatever uses the service.
type Service struct {
	name string
	bus  *bus.Bus
	out  func(*bus.Bus) (*outbox.Dispatcher, error) // nil without an outbox

	mu         sync.Mutex
	opts       Options
	hosts      []any
	middleware []Middleware
	handlers   []Handler
	errs       []error

	ready atomic.Pointer[table]
}

// table is the service as it is used.
type table struct {
	commands, events map[string]HandlerFunc
	types            map[string]types // of commands
	plan             bus.Plan
	err              error
}

var _ bus.Router = (*Service)(nil)

// New makes a service without handlers.
func New(name string) *Service {
	s := &Service{name: name}
	if err := envelope.ValidateName("service name", name, envelope.MaxNameBytes); err != nil {
		s.fail("service", name, err)
	}
	return s
}

// Name returns the service's name.
func (s *Service) Name() string { return s.name }

// change runs f unless it is too late for that.
func (s *Service) change(what string, f func()) *Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ready.Load()
	if t == nil {
		f()
		return s
	}
	s.fail("service", what, ErrStarted)
	next := *t
	next.err = errors.Join(s.errs...)
	s.ready.Store(&next)
	return s
}

func (s *Service) fail(what, name string, err error) {
	s.errs = append(s.errs, &SetupError{Service: s.name, What: what, Name: name, Err: err})
}

// WithOptions replaces the options.
func (s *Service) WithOptions(o Options) *Service {
	return s.change("options", func() { s.opts = o })
}

// WithHosts gives the service hosts of aggregates, such as actor.Aggregates or
// an aggregate.Repository, for commands that were exposed without one.
func (s *Service) WithHosts(hosts ...any) *Service {
	return s.change("hosts", func() { s.hosts = append(s.hosts, hosts...) })
}

// Use adds middleware around every handler: the first one is outermost.
func (s *Service) Use(middleware ...Middleware) *Service {
	return s.change("middleware", func() { s.middleware = append(s.middleware, middleware...) })
}

// Register adds handlers.
func (s *Service) Register(handlers ...Handler) *Service {
	return s.change("handlers", func() { s.handlers = append(s.handlers, handlers...) })
}

// Command adds one handler, with more guards.
func (s *Service) Command(h Handler, guards ...Guard) *Service {
	return s.Register(h.Guarded(guards...))
}

// Event has f handle the events called name. See [On] for one with a typed
// input.
func (s *Service) Event(name string, f EventFunc, guards ...Guard) *Service {
	return s.Register(onEvents([]string{name}, f, guards))
}

// Events has f handle the events of several names.
func (s *Service) Events(names []string, f EventFunc, guards ...Guard) *Service {
	return s.Register(onEvents(names, f, guards))
}

// Check puts the service together, if that was not done yet, and reports what is
// wrong with it: each mistake in a [SetupError].
func (s *Service) Check() error {
	_, err := s.table()
	return err
}

func (s *Service) table() (*table, error) {
	if t := s.ready.Load(); t != nil {
		return t, t.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ready.Load()
	if t == nil {
		t = s.build()
		t.err = errors.Join(s.errs...)
		s.ready.Store(t)
	}
	return t, t.err
}

func (s *Service) build() *table {
	s.defaults()
	t := &table{commands: map[string]HandlerFunc{}, events: map[string]HandlerFunc{}, types: map[string]types{}}
	for _, h := range s.handlers {
		into := t.commands
		if h.kind == envelope.KindEvent {
			into = t.events
		}
		if len(h.names) == 0 {
			s.fail("handler", "", ErrNoHandler)
		}
		for _, name := range h.names {
			_, taken := into[name]
			err := envelope.ValidateName(h.kind.String()+" name", name, envelope.MaxNameBytes)
			var f HandlerFunc
			switch {
			case taken:
				err = ErrNameTaken
			case err != nil:
			case h.bind == nil:
				err = ErrNoHandler
			default:
				f, err = h.bind(s.hosts)
			}
			if err != nil {
				s.fail(h.kind.String(), name, err)
				continue
			}
			into[name] = s.wrap(f, h.guards)
			if h.kind == envelope.KindCommand {
				t.types[name] = h.types
			}
		}
	}
	t.plan = bus.Plan{Commands: slices.Sorted(maps.Keys(t.commands)), Events: slices.Sorted(maps.Keys(t.events))}
	return t
}

func (s *Service) defaults() {
	for _, key := range []struct {
		key   *string
		unset string
	}{{&s.opts.UserKey, KeyUserID}, {&s.opts.RoleKey, KeyRole}} {
		if *key.key == "" {
			*key.key = key.unset
		}
		*key.key = strings.ToLower(*key.key)
	}
	if s.opts.MaxDepth < 0 || s.opts.RetryAfter < 0 {
		s.fail("service", "options", envelope.Invalid("option MaxDepth or RetryAfter", fmt.Sprint(s.opts.MaxDepth, ", ", s.opts.RetryAfter), "is negative"))
	}
	if s.opts.MaxDepth == 0 {
		s.opts.MaxDepth = 100
	}
	if s.opts.RetryAfter == 0 {
		s.opts.RetryAfter = time.Second
	}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.Default()
	}
}

// wrap puts guards and middleware around f, and catches what panics.
func (s *Service) wrap(f HandlerFunc, guards []Guard) HandlerFunc {
	call := func(c *Context) (any, error) {
		if err := pass(c, guards); err != nil {
			return nil, err
		}
		return f(c)
	}
	for _, m := range slices.Backward(s.middleware) {
		call = m(call)
	}
	return recovered(call)
}

// Plan implements [bus.Router].
func (s *Service) Plan() (bus.Plan, error) {
	t, err := s.table()
	return t.plan, err
}

// Commands returns the names of the commands, in order.
func (s *Service) Commands() []string {
	t, _ := s.table()
	return slices.Clone(t.plan.Commands)
}

// Types returns the types of the input and the reply of a command, and nil for
// one that there is not. It is for transports that describe the service.
func (s *Service) Types(name string) (in, out reflect.Type) {
	t, _ := s.table()
	return t.types[name].in, t.types[name].out
}

// HasCommand reports whether there is a command called name.
func (s *Service) HasCommand(name string) bool {
	t, _ := s.table()
	return t.commands[name] != nil
}
