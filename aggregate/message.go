package aggregate

import (
	"fmt"
	"strconv"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// EventMessage makes a message about a, for [Repository.CommitWith] and an
// actor's Transact; in a command use [Context.Publish]. payload is encoded as
// JSON; nil stands for the state of a, as its snapshot has it. The message's
// ordering key is the id of a, its metadata that of a, and its id
// "{id}:{name}:{version}", with the version behind what was recorded so far:
// change the id where one name is published twice.
//
// Errors: [ErrInvalid].
func (s *Spec[A]) EventMessage(a *A, name string, payload any) (envelope.Message, error) {
	return s.message(a, envelope.Message{Kind: envelope.KindEvent, Name: name}, payload)
}

// CommandMessage is EventMessage for a command to the service destination.
//
// Errors: [ErrInvalid].
func (s *Spec[A]) CommandMessage(a *A, destination, name string, payload any) (envelope.Message, error) {
	return s.message(a, envelope.Message{Kind: envelope.KindCommand, Name: name, Destination: destination}, payload)
}

func (s *Spec[A]) message(a *A, m envelope.Message, payload any) (envelope.Message, error) {
	root, now := rootOf(a), time.Now()
	if payload == nil {
		snap, err := s.Snapshot(a, now)
		if err != nil {
			return m, err
		}
		m.Data, m.Codec = snap.Data, snap.Codec
	} else {
		data, err := envelope.JSON.Encode(payload)
		if err != nil {
			return m, &Error{Code: CodeInvalid, Message: fmt.Sprintf("message %q cannot be encoded: %v", m.Name, err), Err: err}
		}
		m.Data, m.Codec = data, envelope.CodecJSON
	}
	if m.Codec == envelope.CodecJSON {
		m.ContentType = "application/json"
	}
	m.ID = root.id + ":" + m.Name + ":" + strconv.FormatUint(root.version, 10)
	m.Time, m.Metadata = now, root.Metadata()
	m.Source, m.SourceVersion = s.Stream(root.id), root.version
	return m, m.Validate()
}
