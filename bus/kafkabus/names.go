package kafkabus

import (
	"fmt"
	"strings"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// names makes the names on the broker. Those of commands, events and their groups
// are of distributed 1.5.0 (src/bus/kafka_bus.rs); the others are ours.
type names struct{ namespace string }

// word is the part of names that says the kind.
func word(kind envelope.Kind) string {
	if kind == envelope.KindCommand {
		return "cmd"
	}
	return "evt"
}

func (n names) prefix(kind envelope.Kind) string { return n.namespace + "." + word(kind) + "." }

func (n names) topic(kind envelope.Kind, name string) string { return n.prefix(kind) + name }

// consumers is the name of a group's members.
func (n names) consumers(group string, kind envelope.Kind) string {
	return n.fullGroup(group) + "." + word(kind)
}

// again is the topic of dead letters that are sent again: only the group that set
// them aside reads it, and no Rust service does.
func (n names) again(group string, kind envelope.Kind) string {
	return n.namespace + ".again." + group + "." + word(kind)
}

func (n names) dead() string { return n.namespace + ".dead" }

func (n names) fullGroup(group string) string { return n.namespace + "." + group }

// ownGroup is the group in the name of a [bus.Transport].Group.
func (n names) ownGroup(full string) string { return strings.TrimPrefix(full, n.namespace+".") }

// maxTopic is the length of a topic's name (Kafka, Topic.MAX_NAME_LENGTH).
const maxTopic = 249

// checkChars refuses what no topic's name can have (Kafka, Topic.LEGAL_CHARS).
func checkChars(field, value string) error {
	for _, r := range value {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return envelope.Invalid(field, value, fmt.Sprintf("has %q: names of Kafka have letters, digits, '.', '_' and '-' only", r))
		}
	}
	return nil
}

// checkName refuses what cannot be part of a topic's name.
func checkName(field, value string) error {
	if err := envelope.ValidateName(field, value, maxTopic/3); err != nil {
		return err
	}
	return checkChars(field, value)
}

// checkTopic says whether messages may be called so.
func (n names) checkTopic(kind envelope.Kind, name string) error {
	if err := checkChars(kind.String()+" name", name); err != nil {
		return err
	}
	if topic := n.topic(kind, name); len(topic) > maxTopic {
		return envelope.Invalid(kind.String()+" name", name, fmt.Sprintf("its topic would have %d bytes, Kafka takes %d", len(topic), maxTopic))
	}
	return nil
}

// check says whether a message may be published.
func (n names) check(m *envelope.Message) error {
	if err := n.checkTopic(m.Kind, m.Name); err != nil {
		return fmt.Errorf("%w: %s %q: %w", bus.ErrRefused, m.Kind, m.Name, &refusedName{err})
	}
	return nil
}

// refusedName has the text of an invalid name, but is no [bus.ErrInvalid]: other
// transports take it.
type refusedName struct{ error }
