package plainjson_test

import (
	"fmt"

	"github.com/troupe-go/troupe/envelope/plainjson"
)

// Renamed is a payload with JSON methods written by hand, as sourced writes
// them.
type Renamed struct {
	Name  string   `json:"name"`
	Tags  []string `json:"tags"`
	Count int      `json:"count"`
}

// AppendJSON implements [envelope.JSONAppender].
func (e Renamed) AppendJSON(dst []byte) ([]byte, error) {
	enc := plainjson.NewEncoder(dst)
	enc.String(`{"name":`, e.Name)
	if e.Tags == nil {
		enc.Raw(`,"tags":null`)
	} else {
		enc.Raw(`,"tags":[`)
		for i, x := range e.Tags {
			enc.String(plainjson.Comma(i), x)
		}
		enc.Raw(`]`)
	}
	enc.Int(`,"count":`, int64(e.Count))
	return enc.End()
}

// DecodeJSON implements [envelope.JSONDecoder].
func (e *Renamed) DecodeJSON(data []byte) error {
	v, dec := *e, plainjson.NewDecoder(data)
	for dec.Next() {
		switch string(dec.Key()) {
		case "name":
			v.Name = dec.String()
		case "tags":
			v.Tags = nil
			if dec.Array() {
				v.Tags = []string{}
				for dec.Item() {
					v.Tags = append(v.Tags, dec.String())
				}
			}
		case "count":
			v.Count = int(dec.Int(0))
		default:
			dec.Refuse() // encoding/json knows what to do
		}
	}
	if !dec.Done() {
		return plainjson.Unmarshal(data, e)
	}
	*e = v
	return nil
}

func Example() {
	data, err := Renamed{Name: "größe <1>", Tags: []string{"a", "b"}, Count: 3}.AppendJSON(nil)
	fmt.Println(string(data), err)

	var e Renamed
	err = e.DecodeJSON([]byte(`{"NAME": "\u0041nn", "count": 3, "unknown": {}}`)) // the long way
	fmt.Printf("%+v %v\n", e, err)

	err = e.DecodeJSON([]byte(`{"count":"3"}`))
	fmt.Println(err)
	// Output:
	// {"name":"größe \u003c1\u003e","tags":["a","b"],"count":3} <nil>
	// {Name:Ann Tags:[] Count:3} <nil>
	// json: cannot unmarshal string into Go struct field Renamed.count of type int
}
