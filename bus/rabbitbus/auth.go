package rabbitbus

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
)

// speaking is an authentication that has the broker say so when it refuses it.
// Otherwise it just ends the connection, which looks like one that was cut: and
// a client that was cut off tries again, for ever, while one whose password is
// wrong must not.
//
// The driver does not offer that capability of the protocol and overwrites the
// ones given to it, but asks for the response behind that, and sends the
// properties then. TestWrongPassword notices when that changes.
type speaking struct {
	amqp.Authentication
	properties amqp.Table // of the connection
}

func (s speaking) Response() string {
	if capabilities, ok := s.properties["capabilities"].(amqp.Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	return s.Authentication.Response()
}

func authentication(uri amqp.URI, mechanism string) (amqp.Authentication, error) {
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		return uri.PlainAuth(), nil
	case "AMQPLAIN":
		return uri.AMQPlainAuth(), nil
	case "EXTERNAL":
		return &amqp.ExternalAuth{}, nil
	}
	return nil, fmt.Errorf("%w: broker url: auth_mechanism %q is none of plain, amqplain and external", bus.ErrInvalid, mechanism)
}

// withoutSecrets is err without the URL, which may hold a password.
func withoutSecrets(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}
