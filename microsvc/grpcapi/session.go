package grpcapi

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// caller reads the session and the idempotency key.
func (a *API) caller(ctx context.Context, md metadata.MD, payload map[string]string) (session microsvc.Session, key string, err error) {
	session = microsvc.Session{}
	known := a.opts.Authenticate != nil // somebody other than the caller says who calls
	for name, values := range md {
		variable, allowed := a.variable(name)
		if !allowed && name != KeyIdempotencyKey || strings.HasSuffix(name, "-bin") {
			continue
		}
		// Two values are a proxy's and a caller's: which one would be believed?
		if _, again := session[variable]; len(values) > 1 || allowed && again {
			return nil, "", envelope.Invalid("metadata", name, "is given more than once")
		}
		if allowed {
			session[variable] = values[0]
			known = known || !conversational(variable)
		} else {
			key = values[0]
		}
	}
	if !a.opts.NoPayloadSession {
		if err := a.addPayload(session, payload, known); err != nil {
			return nil, "", err
		}
	}
	if a.opts.Authenticate != nil {
		variables, err := a.opts.Authenticate(ctx)
		if err != nil {
			return nil, "", err
		}
		for name, value := range variables {
			session[strings.ToLower(name)] = value
		}
	}
	return session, key, nil
}

// addPayload adds what a caller says of itself to what metadata says. If that
// knows who calls it wins as a whole: a role that a proxy left out is none.
func (a *API) addPayload(session microsvc.Session, payload map[string]string, known bool) error {
	said := make(microsvc.Session, len(payload))
	for name, value := range payload {
		variable, allowed := a.variable(name)
		if !allowed || known && !conversational(variable) {
			continue
		}
		if _, again := said[variable]; again {
			return envelope.Invalid("session variable", name, "is given more than once")
		}
		said[variable] = value
	}
	for variable, value := range said {
		if _, set := session[variable]; !set {
			session[variable] = value
		}
	}
	return nil
}

// conversational reports whether a variable says what a call belongs to, and not
// who calls.
func conversational(variable string) bool {
	return variable == microsvc.KeyCorrelationID || variable == microsvc.KeyCausationID
}

// variable returns the session variable that metadata called name becomes.
func (a *API) variable(name string) (string, bool) {
	name = strings.ToLower(name)
	variable := name
	switch name { // the Rust framework knows them by the variable's name
	case KeyCorrelationID, microsvc.KeyCorrelationID:
		name, variable = KeyCorrelationID, microsvc.KeyCorrelationID
	case KeyCausationID, microsvc.KeyCausationID:
		name, variable = KeyCausationID, microsvc.KeyCausationID
	}
	for _, pattern := range a.opts.SessionMetadata {
		pattern = strings.ToLower(pattern)
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		if name == pattern || isPrefix && strings.HasPrefix(name, prefix) && name != adminSecret {
			return variable, true
		}
	}
	return "", false
}

// checkMetadata finds what gRPC cannot carry.
func checkMetadata(md metadata.MD) error {
	for name, values := range md {
		if !only(name, lower+"-_.") {
			return envelope.Invalid("metadata name", name, "is not of a-z, 0-9, -, _ and .")
		}
		for _, value := range values {
			if !strings.HasSuffix(name, "-bin") && !printable(value) {
				return envelope.Invalid("metadata "+name, fmt.Sprintf("%q", value), "is not printable ASCII")
			}
		}
	}
	return nil
}

const (
	lower = "abcdefghijklmnopqrstuvwxyz0123456789"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// only reports whether text has no character but those of chars.
func only(text, chars string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(chars, r) }) < 0
}

func printable(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
