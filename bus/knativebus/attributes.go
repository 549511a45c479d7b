package knativebus

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// Names of attributes that have a meaning of their own here.
const (
	AttributeKind = "sourcedkind" // "command" or "event"

	// AttributeMetadata holds what no attribute can: metadata with other keys
	// than [AttributeName] has names for, with an empty value, or with one that
	// CloudEvents does not allow. It is a JSON object of texts, in ASCII.
	AttributeMetadata = "sourcedmeta"

	// AttributePartitionKey is the ordering key, as the CloudEvents extension
	// Partitioning has it, for brokers that keep order by it.
	AttributePartitionKey = "partitionkey"
)

// maxAttributeName is how long CloudEvents 1.0 says, under Naming
// Conventions, that names should be at most.
const maxAttributeName = 20

// specVersion is that of CloudEvents.
const specVersion = "1.0"

// named are the headers whose attributes are called otherwise.
var named = map[string]string{
	envelope.KeyCorrelationID: "correlationid",
	envelope.KeyCausationID:   "causationid",
	envelope.KeyCommandID:     "commandid",
	bus.HeaderID:              "id",
	bus.HeaderKind:            AttributeKind,
	bus.HeaderContentType:     "datacontenttype",
	bus.HeaderTime:            "time",
	bus.HeaderCodec:           "sourcedcodec",
	bus.HeaderCodecVersion:    "sourcedcodecversion",
	bus.HeaderDestination:     "sourceddestination",
	bus.HeaderSourceType:      "sourcedsourcetype",
	bus.HeaderSourceID:        "sourcedsourceid",
	bus.HeaderSourceSeq:       "sourcedsourceseq",
	bus.HeaderKey:             "sourcedkey",
}

// headers is named, the other way.
var headers = func() map[string]string {
	back := map[string]string{}
	for header, name := range named {
		back[name] = header
	}
	return back
}()

// AttributeName is the attribute that carries a key of metadata, or a header of
// the framework's such as [bus.HeaderKey]. No two keys have the same. A key of
// lower-case letters and digits, at most 20, is its own attribute, unless
// CloudEvents, Knative or the framework has a meaning for it. ok is false for
// all others: they travel together in [AttributeMetadata].
func AttributeName(key string) (name string, ok bool) {
	if name, ok := named[key]; ok {
		return name, true
	}
	if plainName(key) {
		return key, true
	}
	return "", false
}

// MetadataKey is the key of metadata, or the framework's header, that an
// attribute carries: what [AttributeName] made the name of. ok is false for a
// name that it makes of nothing.
func MetadataKey(name string) (key string, ok bool) {
	if key, ok := headers[name]; ok {
		return key, true
	}
	if plainName(name) {
		return name, true
	}
	return "", false
}

// plainName reports whether an attribute called so is metadata of that key.
func plainName(name string) bool {
	if name == "" || len(name) > maxAttributeName || strings.HasPrefix(name, "sourced") || strings.HasPrefix(name, "knative") {
		return false
	}
	for i := range len(name) {
		if !lowerOrDigit(name[i]) {
			return false
		}
	}
	switch name {
	case "specversion", "source", "type", "subject", "dataschema", "data", AttributePartitionKey:
		return false
	}
	return headers[name] == ""
}

// Attributes are those of the CloudEvent that m, published by source, travels
// as: all of m but its data. The values are not encoded for a header, see
// [HeaderValue].
//
// Errors: [bus.ErrRefused] for what CloudEvents cannot carry: a name outside
// printable ASCII or with '"' or '%', a content type that is no media type or
// that means a CloudEvent itself, a year beyond 9999, a text with a
// noncharacter of Unicode elsewhere than in the user's metadata.
func Attributes(m *envelope.Message, source string) (map[string]string, error) {
	refuse := func(what, value, why string) error {
		return fmt.Errorf("knativebus: %w: message %q: %s", bus.ErrRefused, m.ID, envelope.Invalid(what, value, why).Error())
	}
	if why := typeFault(m.Name); why != "" {
		return nil, refuse("name", m.Name, why)
	}
	if why := contentTypeFault(m.ContentType); why != "" {
		return nil, refuse("content type", m.ContentType, why)
	}
	if year := m.Time.UTC().Year(); year < 0 || year > 9999 {
		return nil, refuse("time", fmt.Sprint("year ", year), "RFC 3339 has the years 0 to 9999")
	}
	attributes := map[string]string{"specversion": specVersion, "source": source, "id": m.ID, "type": m.Name, AttributeKind: m.Kind.String()}
	if !carried(m.ID) {
		return nil, refuse("message id", m.ID, noncharacter)
	}
	if m.ContentType != "" {
		attributes["datacontenttype"] = m.ContentType
	}
	if key := m.OrderingKey(); key != "" {
		attributes[AttributePartitionKey] = key
	}
	var others map[string]string
	for key, value := range bus.Headers(m) {
		name, ok := AttributeName(key)
		if ok && value != "" && carried(value) {
			attributes[name] = value
			continue
		}
		if _, user := m.Metadata.Keys[key]; !user {
			return nil, refuse(key, value, noncharacter)
		}
		if others == nil {
			others = map[string]string{}
		}
		others[key] = value
	}
	if others != nil {
		text, err := asciiJSON(others)
		if err != nil {
			return nil, refuse("metadata", fmt.Sprint(len(others), " keys"), err.Error())
		}
		attributes[AttributeMetadata] = text
	}
	return attributes, nil
}

const noncharacter = "has a character that CloudEvents does not allow"

// carried reports whether value is a String of CloudEvents (Type
// System): without control characters and noncharacters. Surrogates are no UTF-8.
func carried(value string) bool {
	for _, r := range value {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe {
			return false
		}
	}
	return utf8.ValidString(value)
}

// asciiJSON is an object, keys in order, with everything beyond ASCII escaped:
// so noncharacters are no characters of it.
func asciiJSON(object map[string]string) (string, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	for _, r := range text {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String(), nil
}

// SetAttributes puts the attributes of a received CloudEvent, with decoded
// values, where [Attributes] took them from. Names are compared without case.
// Extensions of strangers become metadata where metadata can hold them; what
// Knative adds, and attributes that a message has no place for, are left out:
// keep the source to tell repeats. The kind stays as it is where the event has
// none.
//
// Errors: [bus.ErrMalformed] for another version of CloudEvents, and for an
// attribute of the framework's own with a broken value; m then has the rest.
// Whether the message is complete is for envelope.Message.Validate to say.
func SetAttributes(m *envelope.Message, attributes map[string]string) error {
	var first error
	note := func(err error) {
		if err != nil && first == nil {
			first = err
		}
	}
	lower := make(map[string]string, len(attributes))
	for _, name := range slices.Sorted(maps.Keys(attributes)) { // in order, for the same answer each time
		lower[strings.ToLower(name)] = attributes[name]
	}
	if version := lower["specversion"]; version != specVersion {
		note(fmt.Errorf("%w: specversion %q, want %s", bus.ErrMalformed, envelope.CutText(version, 32), specVersion))
	}
	for _, name := range slices.Sorted(maps.Keys(lower)) {
		value := lower[name]
		switch name {
		case "id":
			m.ID = value
		case "type":
			m.Name = value
		case "datacontenttype":
			m.ContentType = value
		case AttributeKind:
			kind, err := bus.ParseKind(value)
			if note(err); err == nil {
				m.Kind = kind
			}
		case AttributeMetadata, AttributePartitionKey, "specversion", "source", "subject", "dataschema", "data":
		default:
			if key, ok := MetadataKey(name); ok {
				note(bus.SetHeader(m, key, value))
			} else if !strings.HasPrefix(name, "knative") && !strings.HasPrefix(name, "sourced") {
				note(bus.SetHeader(m, name, value)) // no name of CloudEvents: that of a service which does not care
			}
		}
	}
	if key := lower[AttributePartitionKey]; m.Key == "" && key != m.Source.ID {
		m.Key = key // a stranger's; ours says sourcedkey, too
	}
	if m.Source == (envelope.Stream{}) {
		m.SourceVersion = 0 // a version of nothing
	}
	if text, ok := lower[AttributeMetadata]; ok {
		note(setOthers(m, text))
	}
	return first
}

func setOthers(m *envelope.Message, text string) error {
	var others map[string]string
	if err := json.Unmarshal([]byte(text), &others); err != nil {
		return fmt.Errorf("%w: attribute %s: %w", bus.ErrMalformed, AttributeMetadata, err)
	}
	one := envelope.Metadata{Keys: others}
	if err := one.Validate(); err != nil {
		return fmt.Errorf("%w: attribute %s: %w", bus.ErrMalformed, AttributeMetadata, err)
	}
	for key, value := range others {
		m.Metadata.Set(key, value)
	}
	return nil
}
