package former

import (
	"testing"

	"github.com/troupe-go/troupe/envelope"
)

func record(version uint64, name string, schema uint32, data string) envelope.Record {
	return envelope.Record{
		Stream: Spec.Stream("1"), Version: version, Name: name, Schema: schema, Codec: "json", Data: []byte(data),
	}
}

// A record counts as one version, whatever it is read as.
func TestFormerEvents(t *testing.T) {
	box := Spec.New("1")
	for i, c := range []struct {
		name   string
		schema uint32
		data   string
		place  string
		weight int
		events int
	}{
		{"came", 1, `{"to":"A"}`, "A", 0, 1},
		{"measured", 1, `{"Kilograms":2}`, "A", 2000, 1},
		{"scaled", 2, `{"grams":7}`, "A", 7, 1},
		{"lifted", 1, `{"Pounds":2}`, "A", 908, 1},
		{"painted", 9, `?`, "A", 908, 0},
		{"moved", 1, `{"Path":"AB"}`, "B", 908, 2},
		{"moved", 2, `{"From":"B","To":"C"}`, "C", 908, 2},
		{"weighed", 1, `{"Kilograms":1}`, "C", 1000, 1},
	} {
		rec := record(uint64(i)+1, c.name, c.schema, c.data)
		if err := Spec.Replay(box, &rec); err != nil {
			t.Fatal(err)
		}
		if box.Place != c.place || box.Weight != c.weight || box.Version() != rec.Version {
			t.Fatalf("after %s: %+v at version %d", c.name, box, box.Version())
		}
		events, err := DecodeBoxEvents(&rec)
		if err != nil || len(events) != c.events {
			t.Fatalf("%s is read as %v, %v", c.name, events, err)
		}
	}
}
