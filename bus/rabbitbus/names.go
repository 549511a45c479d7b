package rabbitbus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// maxShort is the length of a "short string" of AMQP 0-9-1 (section 4.2.5.3):
// names of queues and exchanges, routing keys, keys of headers, message ids.
const maxShort = 255

// maxPrefetch is what the 16 bits of basic.qos hold.
const maxPrefetch = 65535

// names makes the names on the broker. Those of commands and events are of
// distributed 1.5.0 (src/bus/rabbit_bus.rs); the others are ours.
type names struct{ namespace string }

func (n names) command(name string) string { return n.namespace + ".cmd." + name }
func (n names) events() string             { return n.namespace + ".events" }
func (n names) group(group string) string  { return n.namespace + ".evt." + group }
func (n names) dead() string               { return n.namespace + ".dead" }
func (n names) deadLock() string           { return n.namespace + ".dead.lock" }

// again is the exchange that leads to one group's queue, whatever the routing
// key, which stays the event's name.
func (n names) again(group string) string { return n.group(group) + ".again" }

// commandDelay and groupDelay are the exchange and the queue, of one name, of
// what waits so long.
func (n names) commandDelay(d time.Duration) string {
	return n.namespace + ".delay.cmd." + strconv.FormatInt(d.Milliseconds(), 10)
}
func (n names) groupDelay(group string, d time.Duration) string {
	return n.namespace + ".delay.evt." + group + "." + strconv.FormatInt(d.Milliseconds(), 10)
}

// ownGroup is the group in the name of a [bus.Transport].Group.
func (n names) ownGroup(full string) string {
	if n.namespace == "" {
		return full
	}
	return strings.TrimPrefix(full, n.namespace+".")
}

func (n names) fullGroup(group string) string {
	if n.namespace == "" {
		return group
	}
	return n.namespace + "." + group
}

// checkCommand and checkEvent say whether a message may be called so.
func (n names) checkCommand(name string) error {
	if q := n.command(name); len(q) > maxShort {
		return fmt.Errorf("queue %q has %d bytes, RabbitMQ takes names of at most %d", q, len(q), maxShort)
	}
	return nil
}

// checkEvent refuses what a binding would not take literally: in the pattern of
// a topic exchange the words "*" and "#" stand for others. Words that only
// contain such a character are nothing special.
func (n names) checkEvent(name string) error {
	if len(name) > maxShort {
		return fmt.Errorf("it has %d bytes, RabbitMQ takes routing keys of at most %d", len(name), maxShort)
	}
	for word := range strings.SplitSeq(name, ".") {
		if word == "*" || word == "#" {
			return fmt.Errorf("the word %q stands for other words in a binding", word)
		}
	}
	return nil
}

// check is one of both, as the contract's error for a message.
func (n names) check(m *envelope.Message) error {
	check := n.checkEvent
	if m.Kind == envelope.KindCommand {
		check = n.checkCommand
	}
	if err := check(m.Name); err != nil {
		return fmt.Errorf("%w: %s %q: %w", bus.ErrRefused, m.Kind, m.Name, err)
	}
	return nil
}
