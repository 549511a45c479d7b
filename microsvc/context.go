package microsvc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Context is one call: what a handler, a guard and a middleware know of it. It
// is also the caller's [context.Context], with the deadline of the call. What a
// handler asks of aggregates and publishes with it inherits the conversation.
// It belongs to the call and is not for other goroutines.
type Context struct {
	context.Context
	service *Service
	message *envelope.Message
	session Session
	key     string // of idempotency; empty for none

	fields    map[string]json.RawMessage // of the input; nil until asked for
	fieldsErr error
}

// With returns a copy of c with another context, derived from c: for a
// [Middleware].
func (c *Context) With(ctx context.Context) *Context {
	next := *c
	next.Context = ctx
	return &next
}

// Name returns the name of the command or event.
func (c *Context) Name() string { return c.message.Name }

// Kind returns whether this is a command or an event.
func (c *Context) Kind() envelope.Kind { return c.message.Kind }

// Message returns what is handled: the bus's message, and for other calls one that
// was made of the call, whose id is the request's. It is not to be changed.
func (c *Context) Message() *envelope.Message { return c.message }

// RawInput returns the input as it came. It is not to be changed.
func (c *Context) RawInput() []byte { return c.message.Data }

// Input decodes the input of a call.
//
// Errors: [ErrDecode].
func Input[T any](c *Context) (T, error) {
	var in T
	if err := c.decode(&in); err != nil {
		var none T
		return none, err
	}
	return in, nil
}

// decode fills v from the input by the message's codec. JSON is also what names
// no codec, and what an outbox of the Rust framework calls "bytes".
func (c *Context) decode(v any) error {
	m := c.message
	switch m.Codec {
	case "", envelope.CodecJSON:
		return decode(m.Data, v, &c.service.opts)
	}
	codec, err := c.service.opts.Codecs.Lookup(m.Codec)
	switch {
	case err != nil && m.Codec == "bytes":
		return decode(m.Data, v, &c.service.opts)
	case err != nil:
		return bus.Permanent(err)
	}
	return decodeError(codec.Decode(m.Data, v), m.Data)
}

// HasField reports whether the input is an object that has a field called name
// which is not null. Case counts.
func (c *Context) HasField(name string) bool {
	fields, err := c.topFields()
	value, ok := fields[name]
	return err == nil && ok && string(value) != "null"
}

// HasFields reports whether it has all of them.
func (c *Context) HasFields(names ...string) bool {
	for _, name := range names {
		if !c.HasField(name) {
			return false
		}
	}
	return true
}

func (c *Context) topFields() (map[string]json.RawMessage, error) {
	if c.fields == nil && c.fieldsErr == nil {
		c.fieldsErr = c.decode(&c.fields)
	}
	return c.fields, c.fieldsErr
}

// Session returns the variables of the caller. It is not to be changed; a
// [Middleware] may put another one in place, by SetSession.
func (c *Context) Session() Session { return c.session }

// SetSession replaces the session, for what comes behind a [Middleware].
func (c *Context) SetSession(s Session) { c.session = s }

// UserID returns the caller's id, the session variable [Options].UserKey.
//
// Errors: [aggregate.ErrUnauthorized] if there is none.
func (c *Context) UserID() (string, error) { return c.need(c.service.opts.UserKey) }

// Role returns the caller's role, the session variable [Options].RoleKey.
//
// Errors: [aggregate.ErrUnauthorized] if there is none.
func (c *Context) Role() (string, error) { return c.need(c.service.opts.RoleKey) }

func (c *Context) need(key string) (string, error) {
	if value := c.session.Get(key); value != "" {
		return value, nil
	}
	return "", aggregate.Unauthorized("session has no %s", key)
}

// IdempotencyKey returns the key that the caller gave, on a bus the message's id,
// and "" if there is none.
func (c *Context) IdempotencyKey() string { return c.key }

// CommandID returns an id for a command that the handler asks of an aggregate,
// made of the idempotency key, the call's name, the caller's id and parts: the
// same each time the caller repeats the call with its key, and no other
// caller's. parts tell several commands to one aggregate apart. Without a key
// it is "", and so it is in a [bus.Inbox], which gives ids itself; an empty id is
// none, so the result can be passed to [aggregate.WithCommandID] as it is.
func (c *Context) CommandID(parts ...string) string {
	if c.key == "" || bus.InboxFrom(c) != nil {
		return ""
	}
	return digest(append([]string{c.Name(), c.session.Get(c.service.opts.UserKey), c.key}, parts...))
}

// digest is a hash of parts that no other parts have. It is short enough for a
// command id, which a message's id need not be.
func digest(parts []string) string {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}
