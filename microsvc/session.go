package microsvc

import (
	"maps"
	"strings"

	"github.com/troupe-go/troupe/envelope"
)

// Names of session variables that the framework knows.
const (
	KeyUserID        = "x-hasura-user-id" // the default of [Options].UserKey
	KeyRole          = "x-hasura-role"    // the default of [Options].RoleKey
	KeyCorrelationID = envelope.KeyCorrelationID
	KeyCausationID   = envelope.KeyCausationID
)

// Session is what a transport knows of the caller: variables by name, in lower
// case. It is only as true as who filled it: see docs/services.md, "Who is
// trusted".
type Session map[string]string

// Get returns the variable called key, in any case, and "" if there is none.
func (s Session) Get(key string) string { return s[strings.ToLower(key)] }

// Clone returns a copy, which may be changed.
func (s Session) Clone() Session {
	if s == nil {
		return Session{}
	}
	return maps.Clone(s)
}

// sessionOf is the session of a message: its metadata.
func sessionOf(m *envelope.Message) Session {
	s := Session{}
	for key, value := range m.Metadata.All() {
		if key != envelope.KeyCommandID { // of another command
			s[strings.ToLower(key)] = value
		}
	}
	return s
}
