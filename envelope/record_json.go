package envelope

import (
	"encoding/json"
	"fmt"
	"time"
)

// recordJSON is a [Record] as JSON, for exports and archives.
type recordJSON struct {
	Type     string          `json:"type"`
	ID       string          `json:"id"`
	Version  uint64          `json:"version"`
	Position Position        `json:"position,omitzero"`
	Time     time.Time       `json:"time,omitzero"`
	Name     string          `json:"name"`
	Schema   uint32          `json:"schema,omitempty"`
	Codec    string          `json:"codec,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Bytes    []byte          `json:"bytes,omitempty"`
	Metadata *Metadata       `json:"metadata,omitempty"`
}

// MarshalJSON writes the record as one object: type, id, version, position,
// time, name, schema, codec, data, metadata. A schema of 1, the codec json and
// what is empty are left out. Data of codec json stands there as it is, up to
// insignificant white space; that of another codec is "bytes", in base64.
func (r Record) MarshalJSON() ([]byte, error) {
	out := recordJSON{
		Type: r.Stream.Type, ID: r.Stream.ID, Version: r.Version, Position: r.Position, Time: r.Time, Name: r.Name,
	}
	if r.Schema != 1 {
		out.Schema = r.Schema
	}
	if r.Codec == CodecJSON {
		out.Data = r.Data
	} else {
		out.Codec, out.Bytes = r.Codec, r.Data
	}
	if !r.Metadata.IsZero() {
		out.Metadata = &r.Metadata
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what [Record.MarshalJSON] wrote. A record without schema
// has schema 1, one without codec is json, one without metadata has none.
func (r *Record) UnmarshalJSON(data []byte) error {
	var in recordJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("unmarshal record: %w", err)
	}
	*r = Record{
		Stream: Stream{Type: in.Type, ID: in.ID}, Version: in.Version, Position: in.Position, Time: in.Time,
		Name: in.Name, Schema: in.Schema, Codec: in.Codec, Data: in.Bytes,
	}
	if r.Schema == 0 {
		r.Schema = 1
	}
	if r.Codec == "" {
		r.Codec, r.Data = CodecJSON, in.Data
	}
	if in.Metadata != nil {
		r.Metadata = *in.Metadata
	}
	return nil
}
