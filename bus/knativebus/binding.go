package knativebus

import (
	"mime"
	"net/http"
	"strings"
)

// attributePrefix begins the headers of attributes.
const attributePrefix = "ce-"

// HeaderValue encodes the value of an attribute as the HTTP binding of
// CloudEvents 1.0.2 (section 3.1.3.2) says: spaces, double quotes, '%' and
// everything beyond printable ASCII as the percent-encoded bytes of UTF-8. So
// no value can end a header.
func HeaderValue(value string) string {
	n := 0
	for i := range len(value) {
		if encoded(value[i]) {
			n++
		}
	}
	if n == 0 {
		return value
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(value)+2*n)
	for i := range len(value) {
		if c := value[i]; encoded(c) {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func encoded(c byte) bool { return c <= 0x20 || c >= 0x7f || c == '"' || c == '%' }

// ParseHeaderValue decodes what [HeaderValue] encodes, and, as the binding
// wants, a value in double quotes. A '%' without two hexadecimal digits is
// itself.
func ParseHeaderValue(text string) string {
	quoted := len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"'
	if quoted {
		text = text[1 : len(text)-1]
	}
	if !strings.Contains(text, "%") && (!quoted || !strings.Contains(text, `\`)) {
		return text
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\' && i+1 < len(text):
			i++
			b = append(b, text[i])
		case c == '%' && i+2 < len(text) && nibble(text[i+1]) >= 0 && nibble(text[i+2]) >= 0:
			b = append(b, byte(nibble(text[i+1])<<4|nibble(text[i+2])))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// setHeader writes attributes in binary mode. Their names are fit for headers.
func setHeader(h http.Header, attributes map[string]string) {
	for name, value := range attributes {
		if name == "datacontenttype" {
			h.Set("Content-Type", value)
		} else {
			h.Set(attributePrefix+name, HeaderValue(value))
		}
	}
}

// HeaderAttributes reads the attributes of a CloudEvent in binary mode from the
// headers of its request, decoded. Of a header that is there several times the
// first counts.
func HeaderAttributes(h http.Header) map[string]string {
	attributes := map[string]string{}
	for key, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(key), attributePrefix)
		if ok && name != "" && len(values) > 0 {
			attributes[name] = ParseHeaderValue(values[0])
		}
	}
	if contentType := h.Get("Content-Type"); contentType != "" {
		attributes["datacontenttype"] = contentType
	}
	return attributes
}

// contentTypeFault says why a message may not have this content type. The
// header is not encoded, and its value decides how the request is read.
func contentTypeFault(contentType string) string {
	if contentType == "" {
		return ""
	}
	for i := range len(contentType) {
		if c := contentType[i]; c < 0x20 || c >= 0x7f {
			return "is not ASCII"
		}
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil || strings.TrimSpace(contentType) != contentType:
		return "is no media type"
	case strings.HasPrefix(media, "application/cloudevents"):
		return "would have the message read as a CloudEvent in itself"
	}
	return ""
}
