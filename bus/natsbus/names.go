package natsbus

import (
	"fmt"
	"strings"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// names makes the names on the broker. Those of the stream, of commands, events
// and their consumers are of distributed 1.5.0 (src/bus/nats_bus.rs); the others
// are ours.
type names struct{ namespace string }

// stream can be the same for two namespaces, "a-b" and "a.b". Which one it is
// for is told by its subjects.
func (n names) stream() string {
	return strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(n.namespace))
}

func (n names) all() string        { return n.namespace + ".>" }
func (n names) deadStream() string { return n.stream() + "_DEAD" }
func (n names) allDead() string    { return "dead." + n.namespace + ".>" }

// word is the part of names that says the kind.
func word(kind envelope.Kind) string {
	if kind == envelope.KindCommand {
		return "cmd"
	}
	return "evt"
}

func (n names) prefix(kind envelope.Kind) string {
	return n.namespace + "." + word(kind) + "."
}

func (n names) subject(kind envelope.Kind, name string) string { return n.prefix(kind) + name }

// again is what begins the subjects of dead letters that are sent again: only
// the group that set them aside reads them, with a consumer that no Rust service
// knows, as one would take such a subject for an unknown name.
func (n names) again(group string, kind envelope.Kind) string {
	return n.namespace + ".again." + group + "." + word(kind) + "."
}

// dead is what begins the subjects of dead letters of a group.
func (n names) dead(group string) string { return "dead." + n.namespace + "." + group + "." }

func durable(group string, kind envelope.Kind) string { return group + "_" + word(kind) }

func durableAgain(group string, kind envelope.Kind) string { return durable(group, kind) + "_again" }

// ownGroup is the group in the name of a [bus.Transport].Group.
func (n names) ownGroup(full string) string { return strings.TrimPrefix(full, n.namespace+".") }

func (n names) fullGroup(group string) string { return n.namespace + "." + group }

// maxSubject keeps subjects, with what goes before and behind them in a line of
// the protocol, below the 4,096 bytes that a server reads (max_control_line).
const maxSubject = 2048

// checkTokens refuses what is no literal subject.
func checkTokens(field, value string) error {
	if err := envelope.ValidateName(field, value, maxSubject); err != nil {
		return err
	}
	if strings.ContainsAny(value, " \t\r\n") {
		return envelope.Invalid(field, value, "has white space, which ends a subject of NATS")
	}
	for token := range strings.SplitSeq(value, ".") {
		switch token {
		case "":
			return envelope.Invalid(field, value, "has nothing before, behind or between dots, and a subject of NATS has no empty tokens")
		case "*", ">":
			return envelope.Invalid(field, value, fmt.Sprintf("the token %q stands for others in a subject of NATS", token))
		}
	}
	return nil
}

// checkGroup refuses what cannot be the name of a consumer.
func checkGroup(group string) error {
	if err := envelope.ValidateName("group", group, envelope.MaxNameBytes); err != nil {
		return err
	}
	if strings.ContainsAny(group, ".*>/\\ \t") {
		return envelope.Invalid("group", group, `names a consumer of NATS, which cannot have any of . * > / \ and white space; "_" can stand for them, as in a Rust service`)
	}
	return nil
}

func checkNamespace(namespace string) error {
	if err := checkTokens("namespace", namespace); err != nil {
		return err
	}
	if strings.ContainsAny(namespace, "*>/\\") {
		return envelope.Invalid("namespace", namespace, `names a stream of NATS, which cannot have any of * > / \`)
	}
	switch first, _, _ := strings.Cut(namespace, "."); {
	case first == "dead":
		return envelope.Invalid("namespace", namespace, "dead letters of all namespaces have subjects that begin with dead")
	case strings.HasPrefix(first, "$"), strings.HasPrefix(first, "_INBOX"), strings.HasPrefix(first, "_R_"):
		return envelope.Invalid("namespace", namespace, "NATS keeps subjects that begin so for itself")
	}
	return nil
}

// check says whether a message may be called so.
func (n names) check(m *envelope.Message) error {
	if err := checkTokens("message name", m.Name); err != nil {
		return fmt.Errorf("%w: %s %q: %w", bus.ErrRefused, m.Kind, m.Name, &refusedName{err})
	}
	return nil
}

// refusedName has the text of an invalid name, but is no [bus.ErrInvalid]: other
// transports take it.
type refusedName struct{ error }
