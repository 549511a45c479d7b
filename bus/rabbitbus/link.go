package rabbitbus

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
)

// Waits between attempts to connect: the first is shorter than the broker takes
// to start, the last is no burden for one with a thousand clients.
const (
	minDialWait = 100 * time.Millisecond
	maxDialWait = 5 * time.Second
)

// link is one connection to the broker, made whenever somebody needs it and it
// is not there: for ever, with growing waits in between. A bus has two of them:
// the broker blocks a connection that publishes when its memory or disk runs
// low, and acknowledgements must not wait behind that.
type link struct {
	name   string // "publish" or "consume"
	dial   func(ctx context.Context) (*amqp.Connection, error)
	logger *slog.Logger
	life   context.Context // ends with the bus
	tasks  *sync.WaitGroup // of the bus

	mu      sync.Mutex
	conn    *amqp.Connection
	dialing chan struct{} // closed when the attempt under way has ended; nil without one
	err     error         // of the last attempt
	failed  int           // attempts since the last that succeeded
	until   time.Time     // no attempt before
	closed  bool

	blocked chan struct{} // closed while the broker blocks the connection
	reason  string        // of that
}

func newLink(life context.Context, tasks *sync.WaitGroup, name string, logger *slog.Logger, dial func(context.Context) (*amqp.Connection, error)) *link {
	return &link{name: name, dial: dial, logger: logger, life: life, tasks: tasks, blocked: make(chan struct{})}
}

// get returns the connection, and makes it first if it is not there. Between
// two attempts it returns the error of the last one at once.
func (l *link) get(ctx context.Context) (*amqp.Connection, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, bus.ErrClosed
		}
		if l.conn != nil && !l.conn.IsClosed() {
			defer l.mu.Unlock()
			return l.conn, nil
		}
		if l.dialing == nil {
			if time.Now().Before(l.until) {
				defer l.mu.Unlock()
				return nil, l.err
			}
			l.dialing = make(chan struct{})
			l.tasks.Go(l.attempt)
		}
		dialing := l.dialing
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-dialing:
		}
	}
}

// attempt dials once.
func (l *link) attempt() {
	conn, err := l.dial(l.life)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.dialing)
	l.dialing = nil
	if err != nil {
		l.err = typedDial(err)
		if l.failed == 0 && !l.closed {
			l.logger.Warn("rabbitbus: cannot connect, will go on trying", "connection", l.name, "err", err)
		}
		wait := min(minDialWait<<min(l.failed, 10), maxDialWait)
		l.failed++
		l.until = time.Now().Add(time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))) // a fifth more or less: not all clients at once
		return
	}
	if l.closed {
		l.tasks.Go(func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }) // nobody uses it
		return
	}
	if l.conn != nil {
		l.logger.Info("rabbitbus: connected again", "connection", l.name, "attempts", l.failed+1)
	}
	l.conn, l.err, l.failed, l.until = conn, nil, 0, time.Time{}
	l.unblock()
	blocks := conn.NotifyBlocked(make(chan amqp.Blocking))
	gone := conn.NotifyClose(make(chan *amqp.Error, 1))
	l.tasks.Go(func() { l.watch(conn, blocks, gone) })
}

// watch notes when the broker blocks conn, until conn is gone.
func (l *link) watch(conn *amqp.Connection, blocks chan amqp.Blocking, gone chan *amqp.Error) {
	for {
		select {
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
				continue
			}
			l.mu.Lock()
			switch {
			case l.conn != conn: // of a connection of before
			case b.Active:
				l.reason = b.Reason
				close(l.blocked)
				l.logger.Warn("rabbitbus: the broker takes nothing for now", "reason", b.Reason)
			default:
				l.unblock()
				l.logger.Info("rabbitbus: the broker takes messages again")
			}
			l.mu.Unlock()
		case why := <-gone:
			if why != nil && l.life.Err() == nil {
				l.logger.Warn("rabbitbus: connection lost", "connection", l.name, "err", why)
			}
			return
		}
	}
}

// unblock forgets that the connection was blocked. l.mu is held.
func (l *link) unblock() {
	select {
	case <-l.blocked:
		l.blocked = make(chan struct{})
	default:
	}
}

// blockedNow returns a channel that is closed when the broker blocks the
// connection.
func (l *link) blockedNow() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked
}

// frameSize is how large a frame of the connection may be; that of the last one
// if there is none now. A bus has had one since it was made.
func (l *link) frameSize() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.conn.Config.FrameSize <= 0 { // the broker sets no limit
		return math.MaxInt32
	}
	return l.conn.Config.FrameSize
}

// blockedError is the error of what cannot be published meanwhile.
func (l *link) blockedError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("rabbitbus: publish: %w: the broker blocks this connection: %s", bus.ErrUnavailable, l.reason)
}

// close ends the connection. The broker has until the deadline to answer.
func (l *link) close(deadline time.Time) {
	l.mu.Lock()
	l.closed = true
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		_ = conn.CloseDeadline(deadline) // the broker sees that it is gone, one way or another
	}
}

// dialer makes connections to url.
//
// Its context cuts the attempt short.
func dialer(url string, o *Options) (func(context.Context) (*amqp.Connection, error), error) {
	uri, err := amqp.ParseURI(url)
	if err != nil {
		return nil, fmt.Errorf("%w: broker url: %w", bus.ErrInvalid, withoutSecrets(err))
	}
	if len(uri.AuthMechanism) == 0 {
		uri.AuthMechanism = []string{"plain"}
	}
	return func(ctx context.Context) (*amqp.Connection, error) {
		properties := amqp.NewConnectionProperties()
		properties.SetClientConnectionName("troupe " + (names{o.Namespace}).fullGroup(o.Group))
		config := amqp.Config{
			Properties: properties, Heartbeat: o.Heartbeat, TLSClientConfig: o.TLS.Clone(), Vhost: uri.Vhost,
			Dial: func(network, addr string) (net.Conn, error) {
				dialer := net.Dialer{Timeout: o.ConnectTimeout}
				conn, err := dialer.DialContext(ctx, network, addr)
				if err == nil { // for the handshakes; the driver takes it off behind them
					err = conn.SetDeadline(time.Now().Add(o.ConnectTimeout))
				}
				return conn, err
			},
		}
		for _, mechanism := range uri.AuthMechanism {
			auth, err := authentication(uri, mechanism)
			if err != nil {
				return nil, err
			}
			config.SASL = append(config.SASL, speaking{auth, properties})
		}
		return amqp.DialConfig(url, config)
	}, nil
}
