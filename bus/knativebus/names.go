package knativebus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/troupe-go/troupe/envelope"
)

// maxLabel is the length of a label of RFC 1123, which names in Kubernetes are.
const maxLabel = 63

// maxService leaves room for the suffixes of brokers.
const maxService = maxLabel - len(commandsSuffix)

const (
	commandsSuffix = "-commands"
	eventsSuffix   = "-events"
)

// CommandsBroker names the broker of the commands for a service.
func CommandsBroker(service string) string { return service + commandsSuffix }

// EventsBroker names the broker of the events that a service publishes.
func EventsBroker(service string) string { return service + eventsSuffix }

func checkService(option, service string) error {
	if why := labelFault(service, maxService); why != "" {
		return envelope.Invalid("option "+option, service, why)
	}
	return nil
}

// labelFault says why name is no label of RFC 1123 of at most so many bytes.
func labelFault(name string, most int) string {
	if name == "" {
		return "is empty"
	}
	if len(name) > most {
		return fmt.Sprintf("has %d bytes, at most %d are allowed", len(name), most)
	}
	for i := range len(name) {
		c := name[i]
		if !lowerOrDigit(c) && (c != '-' || i == 0 || i == len(name)-1) {
			return "want lower-case letters, digits and '-', none at either end (RFC 1123)"
		}
	}
	return ""
}

func lowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// typeFault says why a message may not be called so. A broker compares types
// with the filters of triggers as they are in the header, so one that is
// encoded there would never match.
func typeFault(name string) string {
	for i := range len(name) {
		if encoded(name[i]) {
			return "a type of CloudEvents with spaces, quotes, '%' or letters beyond ASCII matches no trigger"
		}
	}
	return ""
}

// triggerName names the trigger of one message, by nothing but that message and
// its service: a name that changed because another message came would leave the
// old trigger behind, and everything would be delivered twice.
//
// "order.shipped" for the service mail is "mail--event-order-shipped". Only
// words of lower-case letters and digits between dots are so clear that no
// other name comes out the same; the rest, and what is too long, gets a hash
// behind a second "--".
func triggerName(service string, kind envelope.Kind, name string) string {
	plain := !strings.Contains(service, "--")
	b := []byte(service + "--" + kind.String() + "-")
	begin := len(b)
	for i := range len(name) {
		c := name[i]
		switch {
		case lowerOrDigit(c):
			b = append(b, c)
			continue
		case 'A' <= c && c <= 'Z':
			b, plain = append(b, c+'a'-'A'), false
			continue
		case c != '.':
			plain = false
		}
		if last := len(b) - 1; b[last] == '-' || i == len(name)-1 {
			plain = false
		} else {
			b = append(b, '-')
		}
	}
	if plain && len(b) > begin && len(b) <= maxLabel {
		return string(b)
	}
	sum := sha256.Sum256([]byte(service + "\x00" + kind.String() + "\x00" + name))
	suffix := "--" + hex.EncodeToString(sum[:5])
	b = b[:min(len(b), maxLabel-len(suffix))]
	return strings.TrimRight(string(b), "-") + suffix
}
