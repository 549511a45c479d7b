package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// initialisms are the words that Go writes in capitals, as parameters and
// fields of domain models use them.
var initialisms = map[string]bool{"id": true, "ip": true, "url": true, "uri": true, "uuid": true, "api": true}

// exported makes a Go name exported: "task" is "Task", "id" is "ID", "userId"
// is "UserID". The result is not exported where no upper case exists.
func exported(name string) string {
	if initialisms[name] {
		return strings.ToUpper(name)
	}
	if stem, ok := strings.CutSuffix(name, "Id"); ok && stem != "" {
		name = stem + "ID"
	}
	r, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[size:]
}

// unexported makes a Go name unexported: "TodoCompleted" is "todoCompleted",
// "HTTPCall" is "httpCall", "ID" is "id".
func unexported(name string) string {
	runes := []rune(name)
	for i, r := range runes {
		if !unicode.IsUpper(r) || i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1]) {
			break
		}
		runes[i] = unicode.ToLower(r)
	}
	return string(runes)
}

// initial is the name of a receiver: the first letter of its type's name.
func initial(name string) string {
	r, _ := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(r))
}

// snake is the JSON name of a Go name: "userID" is "user_id".
func snake(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsUpper(r) {
			follows := i > 0 && (unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1]))
			begins := i > 0 && i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1])
			if (follows || begins) && runes[i-1] != '_' {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isPlain reports whether name is not empty, and has letters, digits and the
// characters in others alone.
func isPlain(name, others string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune(others, r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// payloadName is the Go type of an event's payload: "initialized" of Todo is
// TodoInitialized. The aggregate's own name in front of a dotted event name
// adds nothing: "todo.renamed" is TodoRenamed.
func payloadName(a *aggregateType, event string) string {
	if rest, ok := strings.CutPrefix(event, a.durable+"."); ok {
		event = rest
	}
	name := a.prefix
	for word := range strings.FieldsFuncSeq(event, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		name += exported(word)
	}
	return name
}

// outputName is the name of the file generated for a.
func (a *aggregateType) outputName() string { return strings.ToLower(a.name) + suffix }

// testName is the name of the test file generated for a.
func (a *aggregateType) testName() string { return strings.ToLower(a.name) + testSuffix }
