package ceingress

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
)

// event is one CloudEvent: its attributes, decoded, and its data.
type event struct {
	attributes map[string]string
	data       []byte
}

// errTooLarge reports an event, or a batch, beyond a limit.
var errTooLarge = errors.New("too large")

// decode reads the events of a request.
//
// Errors: bus.ErrMalformed, errTooLarge.
func decode(h http.Header, mode mode, body []byte, maxBatch int) ([]event, error) {
	if mode == binary {
		return []event{{knativebus.HeaderAttributes(h), body}}, nil
	}
	if !utf8.Valid(body) { // encoding/json would replace what is not
		return nil, malformed("the body is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var events []event
	if mode == structured {
		e, err := decodeEvent(dec)
		if err != nil {
			return nil, err
		}
		events = []event{e}
	} else {
		if err := expect(dec, '[', "an array of events"); err != nil {
			return nil, err
		}
		for dec.More() {
			if len(events) == maxBatch {
				return nil, fmt.Errorf("%w: a batch has at most %d events", errTooLarge, maxBatch)
			}
			e, err := decodeEvent(dec)
			if err != nil {
				return nil, fmt.Errorf("event %d of the batch: %w", len(events), err)
			}
			events = append(events, e)
		}
		if _, err := dec.Token(); err != nil {
			return nil, malformedJSON(err)
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("something follows the JSON value at offset %d", dec.InputOffset())
	}
	return events, nil
}

// decodeEvent reads one event in the JSON format of CloudEvents 1.0.
func decodeEvent(dec *json.Decoder) (event, error) {
	if err := expect(dec, '{', "an object"); err != nil {
		return event{}, err
	}
	e := event{attributes: map[string]string{}}
	var data, base64Data json.RawMessage
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return event{}, malformedJSON(err)
		}
		name, _ := token.(string) // of an object's member it is one
		// What reads it twice, such as a broker's filter, might believe the other.
		if lower := strings.ToLower(name); seen[lower] {
			return event{}, malformed("attribute %q is given twice", envelope.CutText(name, 64))
		} else {
			seen[lower] = true
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return event{}, malformedJSON(err)
		}
		switch name {
		case "data":
			data = value
			continue
		case "data_base64":
			base64Data = value
			continue
		}
		text, ok, err := attributeText(value)
		if err != nil {
			return event{}, fmt.Errorf("attribute %q: %w", envelope.CutText(name, 64), err)
		}
		if ok {
			e.attributes[name] = text
		}
	}
	if _, err := dec.Token(); err != nil {
		return event{}, malformedJSON(err)
	}
	var err error
	e.data, err = dataOf(data, base64Data, e.attributes["datacontenttype"])
	return e, err
}

// attributeText is the canonical text of an attribute (CloudEvents, Type System).
// ok is false for null, which is no attribute.
func attributeText(value json.RawMessage) (text string, ok bool, err error) {
	switch value[0] {
	case 'n':
		return "", false, nil
	case 't', 'f':
		return string(value), true, nil
	case '"':
		if err := json.Unmarshal(value, &text); err != nil {
			return "", false, malformedJSON(err)
		}
		return text, true, nil
	case '{', '[':
		return "", false, malformed("is neither text, integer nor boolean")
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return "", false, malformed("%s is no integer", envelope.CutText(string(value), 64))
	}
	return strconv.FormatInt(n, 10), true, nil
}

// dataOf is the data of an event in the JSON format: what it would be as the body
// of the same event in binary mode.
func dataOf(data, base64Data json.RawMessage, contentType string) ([]byte, error) {
	var text string
	switch {
	case data != nil && base64Data != nil:
		return nil, malformed("has data and data_base64")
	case base64Data != nil && string(base64Data) != "null":
		if err := json.Unmarshal(base64Data, &text); err != nil {
			return nil, malformed("data_base64 is no text")
		}
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, malformed("data_base64: %v", err)
		}
		return decoded, nil
	case data == nil:
		return []byte{}, nil
	case isJSON(contentType) || data[0] != '"' && data[0] != 'n':
		return data, nil
	case data[0] == 'n':
		return []byte{}, nil
	}
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, malformedJSON(err)
	}
	return []byte(text), nil
}

// isJSON reports whether data of this type is JSON. What names none is.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json"))
}

// message makes of an event the message that it was.
func (in *Ingress) message(e event) (*envelope.Message, error) {
	if len(e.data) > envelope.MaxDataBytes {
		return nil, fmt.Errorf("%w: the data has %d bytes, at most %d are allowed", errTooLarge, len(e.data), envelope.MaxDataBytes)
	}
	m := &envelope.Message{Data: e.data}
	if err := knativebus.SetAttributes(m, e.attributes); err != nil {
		return nil, err
	}
	maps.DeleteFunc(m.Metadata.Keys, func(key, _ string) bool { return !in.opts.allows(key) })
	if len(m.Metadata.Keys) == 0 {
		m.Metadata.Keys = nil
	}
	own := m.Kind != 0
	if !own {
		// A stranger's. It does not say what it is, but its type may.
		m.Kind = envelope.KindEvent
		if !in.events[m.Name] && in.service.HasCommand(m.Name) {
			m.Kind = envelope.KindCommand
		}
	}
	source := attribute(e.attributes, "source")
	if source == "" || strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, malformed("source %q is no URI reference", envelope.CutText(source, 64))
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if !own {
		m.ID = strangerID(source, m.ID)
	}
	return m, nil
}

// strangerID tells the events of one source from another's: ids are unique within
// a source only. A source has no spaces.
func strangerID(source, id string) string {
	text := source + " " + id
	if len(text) <= envelope.MaxMessageIDBytes && utf8.ValidString(text) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256 " + hex.EncodeToString(sum[:])
}

// attribute finds an attribute by its name in lower case.
func attribute(attributes map[string]string, name string) string {
	if value, ok := attributes[name]; ok {
		return value
	}
	for key, value := range attributes {
		if strings.ToLower(key) == name {
			return value
		}
	}
	return ""
}

func expect(dec *json.Decoder, delim json.Delim, what string) error {
	token, err := dec.Token()
	if err != nil {
		return malformedJSON(err)
	}
	if token != delim {
		return malformed("want %s at offset %d", what, dec.InputOffset())
	}
	return nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{bus.ErrMalformed}, args...)...)
}

// malformedJSON says where, as far as that is known.
func malformedJSON(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return malformed("%v at offset %d", syntax, syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("unexpected end of JSON input")
	}
	return malformed("%v", err)
}
