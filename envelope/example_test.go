package envelope_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/envelope"
)

func ExampleNewStream() {
	s, err := envelope.NewStream("todo", "42")
	fmt.Println(s, err)
	_, err = envelope.NewStream("todo", "  ")
	fmt.Println(err, errors.Is(err, envelope.ErrInvalid))
	// Output:
	// todo/42 <nil>
	// invalid stream id "  ": is blank true
}

func ExampleMetadata() {
	var m envelope.Metadata
	m.Set(envelope.KeyCorrelationID, "c1")
	m.Set("tenant", "acme")
	data, err := json.Marshal(m)
	fmt.Println(string(data), err)
	// Output: {"correlation_id":"c1","tenant":"acme"} <nil>
}

func ExampleParsePosition() {
	p, err := envelope.ParsePosition("3-141")
	fmt.Println(p.Epoch, p.Seq, err)
	fmt.Println(p.Compare(envelope.Position{Epoch: 3, Seq: 59}))
	// Output:
	// 3 141 <nil>
	// 1
}
