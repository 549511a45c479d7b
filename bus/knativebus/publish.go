package knativebus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

const (
	// maxSaidBytes is how much of an answer gets into an error.
	maxSaidBytes = 256

	// maxAnswerBytes is how much of an answer is read to use its connection
	// again. An ingress answers with nothing or a line; beyond it a new
	// connection costs less.
	maxAnswerBytes = 64 << 10
)

// posting is what one message becomes.
type posting struct {
	message    *envelope.Message
	broker     string
	url        *url.URL
	attributes map[string]string
}

// PublishBatch posts the messages, so many at a time, and waits for all
// answers.
func (t *transport) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !t.enter() {
		return bus.ErrClosed
	}
	defer t.running.Done()
	failed := &bus.BatchError{Errors: make([]error, len(messages))}
	var away unreachable
	next := make(chan int)
	var posters sync.WaitGroup
	for range min(t.opts.MaxConcurrent, len(messages)) {
		posters.Go(func() {
			for i := range next {
				failed.Errors[i] = t.publish(ctx, &messages[i], &away)
			}
		})
	}
	for i := range messages {
		next <- i
	}
	close(next)
	posters.Wait()
	return failed.Or()
}

// unreachable notes which hosts cannot be connected to, during one call: those
// behind are not tried, as each would wait for the same. Whether a connection
// can be made does not depend on the message. The zero value is empty.
type unreachable struct {
	mu    sync.Mutex
	hosts map[string]error
}

func (u *unreachable) get(host string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hosts[host]
}

func (u *unreachable) note(host string, err error) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hosts == nil {
		u.hosts = map[string]error{}
	}
	u.hosts[host] = err
}

func (t *transport) publish(ctx context.Context, m *envelope.Message, away *unreachable) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p, err := t.posting(m)
	if err != nil {
		return err
	}
	if err := away.get(p.url.Host); err != nil {
		return err
	}
	err = t.post(ctx, p)
	away.note(p.url.Host, err)
	return err
}

// posting addresses m.
func (t *transport) posting(m *envelope.Message) (*posting, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if most := t.opts.MaxMessageBytes; most > 0 && m.SizeBytes() > most {
		return nil, fmt.Errorf("knativebus: %w: message %q has %d bytes, at most %d are allowed", bus.ErrRefused, m.ID, m.SizeBytes(), most)
	}
	p := &posting{message: m, broker: EventsBroker(t.opts.Service)}
	if m.Kind == envelope.KindCommand {
		if why := labelFault(m.Destination, maxService); why != "" {
			return nil, fmt.Errorf("knativebus: %w: command %q: %s (say which service it is for with bus.To)",
				bus.ErrRefused, m.ID, envelope.Invalid("destination", m.Destination, why).Error())
		}
		p.broker = CommandsBroker(m.Destination)
	}
	var err error
	if p.attributes, err = Attributes(m, t.opts.Service); err != nil {
		return nil, err
	}
	at := t.opts.Brokers[p.broker]
	if at == "" && t.opts.Ingress != "" {
		at = expand(t.opts.Ingress, t.opts.Namespace, p.broker)
	}
	if at == "" {
		// Retryable, as an unknown broker of an ingress is: the message is good.
		return nil, fmt.Errorf("knativebus: %w: message %q: broker %q is not in Options.Brokers, and there is no Ingress", bus.ErrUnavailable, m.ID, p.broker)
	}
	if p.url, err = url.Parse(at); err != nil { // checked with the options
		return nil, fmt.Errorf("knativebus: %w: broker %q: %w", bus.ErrUnavailable, p.broker, err)
	}
	return p, nil
}

// errNoAnswer is the cause of what the broker did not answer in time.
var errNoAnswer = errors.New("no answer in time")

// post sends p, and returns nil if the broker has confirmed.
func (t *transport) post(ctx context.Context, p *posting) error {
	request, cancel := context.WithTimeoutCause(ctx, t.opts.Timeout, errNoAnswer)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	r, err := http.NewRequestWithContext(request, http.MethodPost, p.url.String(), bytes.NewReader(p.message.Data))
	if err != nil {
		return fmt.Errorf("knativebus: %w: broker %q: %w", bus.ErrUnavailable, p.broker, err)
	}
	setHeader(r.Header, p.attributes)
	answer, err := t.client.Do(r)
	switch {
	case err == nil:
	case t.life.Err() != nil:
		return bus.ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx) // it may have arrived
	case errors.Is(context.Cause(request), errNoAnswer):
		return fmt.Errorf("knativebus: %w: broker %q at %s: %w (%v)", bus.ErrUnavailable, p.broker, p.url.Redacted(), errNoAnswer, t.opts.Timeout)
	default:
		return fmt.Errorf("knativebus: %w: broker %q: %w", bus.ErrUnavailable, p.broker, err)
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	said := make([]byte, maxSaidBytes)
	n, err := io.ReadFull(answer.Body, said)
	if err == nil {
		_, _ = io.CopyN(io.Discard, answer.Body, maxAnswerBytes) // the status has said all
	}
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	return &StatusError{
		MessageID: p.message.ID, Broker: p.broker, URL: p.url.Redacted(), Status: answer.StatusCode,
		Said: envelope.CutText(string(said[:n]), maxSaidBytes),
	}
}
