package knativebus

import (
	"fmt"
	"net/http"

	"github.com/troupe-go/troupe/bus"
)

// StatusError is an answer of a broker's ingress that confirms nothing. It is a
// [bus.ErrRefused] or a [bus.ErrUnavailable] by its Status, and a
// [bus.ErrUnauthorized], too, for 401 and 403.
type StatusError struct {
	MessageID string
	Broker    string
	URL       string // without its password
	Status    int
	Said      string // how the body begins
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("knativebus: broker %q at %s answered %d %s to message %q", e.Broker, e.URL, e.Status, http.StatusText(e.Status), e.MessageID)
	switch {
	case e.Status == http.StatusNotFound:
		text += ": there is no such broker (yet): apply the manifests of the service that it belongs to"
	case e.Status >= 300 && e.Status < 400:
		text += ": redirects are not followed: is the ingress URL right?"
	}
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

// Is reports whether target is what the status means.
func (e *StatusError) Is(target error) bool {
	switch target {
	case bus.ErrRefused:
		return e.refused()
	case bus.ErrUnavailable:
		return !e.refused()
	case bus.ErrUnauthorized:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	}
	return false
}

// refused reports whether the answer is about this message, which will get it
// again. The others are about the broker or this program's settings, and a
// message must outlast those: a broker that is not there yet, credentials that
// have run out, a redirect, a queue that is full.
func (e *StatusError) refused() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict,
		http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status >= 400 && e.Status < 500
}
