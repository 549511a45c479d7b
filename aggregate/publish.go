package aggregate

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// MaxMessages bounds what one command may publish and send.
const MaxMessages = 1000

// Publish adds a message to the outbox, in the commit of the command's events:
// it exists if and only if they do. payload is encoded as JSON, at once. The
// message's ordering key is the aggregate's id, its metadata the command's, and
// its id "{aggregate id}:{name}:{version}"; a second one of that name in a
// command gets ":2" behind it.
//
// A payload that cannot be encoded, a malformed name, or more than
// [MaxMessages], fails the command with [ErrInvalid] when its handler returns.
func (c *Context) Publish(name string, payload any) {
	c.publish(envelope.Message{Kind: envelope.KindEvent, Name: name}, payload)
}

// Send is Publish for a command to the service destination: one receiver gets
// it.
func (c *Context) Send(destination, name string, payload any) {
	c.publish(envelope.Message{Kind: envelope.KindCommand, Name: name, Destination: destination}, payload)
}

// PublishAt is Publish for a message that the outbox holds back until at: a timer
// that outlives the process. Behind that time it is published as soon as a
// dispatcher runs, whatever else was published under its ordering key meanwhile.
// A time that has come is now.
//
// Nothing takes it back. Have whoever gets it ask whether it still matters.
func (c *Context) PublishAt(at time.Time, name string, payload any) {
	c.publish(envelope.Message{Kind: envelope.KindEvent, Name: name, NotBefore: at}, payload)
}

// SendAt is Send for a message that the outbox holds back, as PublishAt says. Sent to
// the aggregate's own service, it is a reminder: a saga that is not done by then
// learns that it is late.
func (c *Context) SendAt(at time.Time, destination, name string, payload any) {
	c.publish(envelope.Message{Kind: envelope.KindCommand, Name: name, Destination: destination, NotBefore: at}, payload)
}

// PublishMessage is Publish for a message that the handler made: what it leaves
// empty is filled in, and Data must be encoded.
func (c *Context) PublishMessage(m envelope.Message) { c.add(m) }

func (c *Context) publish(m envelope.Message, payload any) {
	data, err := envelope.JSON.Encode(payload)
	if err != nil {
		c.rec.fail(&Error{Code: CodeInvalid, Message: fmt.Sprintf("message %q cannot be encoded: %v", m.Name, err), Err: err})
		return
	}
	m.Data, m.Codec, m.ContentType = data, envelope.CodecJSON, "application/json"
	c.add(m)
}

func (c *Context) add(m envelope.Message) {
	if len(c.rec.messages) >= MaxMessages {
		c.rec.fail(envelope.Invalid("messages of command "+c.header.Command, fmt.Sprint(len(c.rec.messages)+1), fmt.Sprintf("at most %d are allowed", MaxMessages)))
		return
	}
	c.rec.messages = append(c.rec.messages, m)
}

func (r *Recorder) fail(err error) {
	if r.failed == nil {
		r.failed = err
	}
}

// forget drops what an earlier run of a command left.
func (r *Recorder) forget() {
	clear(r.messages)
	r.messages, r.failed = r.messages[:0], nil
}

// TakeMessages completes what the last command on s published and appends it to
// dst. version is the aggregate's behind the command, and recorded whether the
// command recorded anything: without, there is no version to tell its messages
// by, and they get ids of their own. It is for runtimes.
//
// Errors: [ErrInvalid] for a malformed message.
func (r *Recorder) TakeMessages(dst []envelope.Message, s envelope.Stream, version uint64, recorded bool, now time.Time) ([]envelope.Message, error) {
	if len(r.messages) == 0 {
		return dst, nil
	}
	defer r.forget()
	mark := len(dst)
	for i := range r.messages {
		m := r.messages[i]
		if m.Source == (envelope.Stream{}) {
			m.Source, m.SourceVersion = s, version
		}
		if !m.NotBefore.After(now) {
			m.NotBefore = time.Time{}
		}
		if m.Time.IsZero() {
			m.Time = now
			if !m.NotBefore.IsZero() {
				m.Time = m.NotBefore.UTC() // when it happens, for receivers and figures
			}
		}
		if m.Metadata.IsZero() {
			m.Metadata = r.Metadata
		}
		if m.ID == "" {
			m.ID = s.ID + ":" + m.Name + ":" + strconv.FormatUint(version, 10)
			if !recorded {
				m.ID += ":" + rand.Text()
			} else if n := countNamed(r.messages[:i], m.Name); n > 0 {
				m.ID += ":" + strconv.Itoa(n+1)
			}
		}
		if err := m.Validate(); err != nil {
			clear(dst[mark:])
			return dst[:mark], err
		}
		dst = append(dst, m)
	}
	return dst, nil
}

// countNamed counts the messages called name.
func countNamed(messages []envelope.Message, name string) (n int) {
	for i := range messages {
		if messages[i].Name == name {
			n++
		}
	}
	return n
}
