package aggregatetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

// writePayloads is the environment variable that makes [Payloads] write what is
// missing. It is no flag: a flag would have to be known to every test binary
// that go test ./... runs.
const writePayloads = "TROUPE_WRITE_PAYLOADS"

// Payloads proves that the events of an aggregate can be read for ever. The
// folder dir holds one stored example for each event and each schema from 1, as
// AGGREGATE.EVENT.SCHEMA.CODEC, for example account.deposited.1.json. Commit
// them. A baseline is an event here, called x-sourced-baseline.
//
//   - Each example must decode, and go through the upcasters to the current
//     schema. Every example of the aggregate counts, also of a former event.
//   - An example of the current schema, encoded again, must be what it was: no
//     field lost, none added.
//   - Each schema must have an example.
//
// Run the test with TROUPE_WRITE_PAYLOADS=1 to write the missing examples of
// current schemas, with a value for each field. A file that exists is never
// written: edit it by hand if you like other values. Old schemas have no type
// to write from; their files come from version control.
//
// The package's generator writes a test that calls Payloads.
func Payloads[A any](t testing.TB, spec *aggregate.Spec[A], dir string) {
	t.Helper()
	p := payloads[A]{t: t, spec: spec, dir: dir, files: map[payloadID][]string{}}
	if err := p.list(); err != nil {
		t.Fatalf("payloads of aggregate %s: %v", spec.Type(), err)
	}
	for typ := range spec.Events() {
		for schema := uint32(1); schema <= typ.Schema; schema++ {
			id := payloadID{typ.Name, schema}
			if !p.has(typ, schema) {
				p.missing(typ, schema)
			}
			for _, name := range p.files[id] {
				p.check(name, id, schema == typ.Schema)
			}
			delete(p.files, id)
		}
	}
	for _, id := range p.others() {
		for _, name := range p.files[id] {
			p.check(name, id, false)
		}
	}
}

// payloads is one run of [Payloads].
type payloads[A any] struct {
	t     testing.TB
	spec  *aggregate.Spec[A]
	dir   string
	files map[payloadID][]string // names without folder
}

// payloadID is an event and a schema of it.
type payloadID struct {
	event  string
	schema uint32
}

// list finds the examples of this aggregate. Those of other aggregates may be
// in the same folder.
func (p *payloads[A]) list() error {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	prefix := fileWord(p.spec.Type(), false) + "."
	known := map[string]string{} // by what stands for it in a file name
	for typ := range p.spec.Events() {
		known[fileWord(typ.Name, true)] = typ.Name
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || e.IsDir() {
			continue
		}
		rest, _, ok = cutLast(rest)
		word, number, ok2 := cutLast(rest)
		schema, err := strconv.ParseUint(number, 10, 32)
		if !ok || !ok2 || err != nil {
			return fmt.Errorf("%s is no name of an example: it is written AGGREGATE.EVENT.SCHEMA.CODEC", filepath.Join(p.dir, e.Name()))
		}
		event, ok := known[word]
		if !ok {
			event = eventOfWord(word)
		}
		id := payloadID{event, uint32(schema)}
		p.files[id] = append(p.files[id], e.Name())
	}
	return nil
}

// others are what is left in files, in order.
func (p *payloads[A]) others() []payloadID {
	return slices.SortedFunc(maps.Keys(p.files), func(a, b payloadID) int {
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.schema, b.schema))
	})
}

// has reports whether a schema has an example. The current one needs one in the
// codec that is written now.
func (p *payloads[A]) has(typ aggregate.EventType, schema uint32) bool {
	names := p.files[payloadID{typ.Name, schema}]
	if schema < typ.Schema {
		return len(names) > 0
	}
	return slices.Contains(names, p.fileName(typ.Name, schema))
}

// fileName is where the example of a schema is, in the codec of today.
func (p *payloads[A]) fileName(event string, schema uint32) string {
	return fmt.Sprintf("%s.%s.%d.%s", fileWord(p.spec.Type(), false), fileWord(event, true), schema, fileWord(p.spec.Codec().Name(), false))
}

// missing writes the example of a current schema where that is asked for, and
// fails the test otherwise.
func (p *payloads[A]) missing(typ aggregate.EventType, schema uint32) {
	p.t.Helper()
	name := p.fileName(typ.Name, schema)
	path := filepath.Join(p.dir, name)
	if schema < typ.Schema {
		p.t.Errorf("event %q schema %d: there is no example %s: restore it from version control, or write it from a record of that schema", typ.Name, schema, path)
		return
	}
	if os.Getenv(writePayloads) == "" {
		test, _, _ := strings.Cut(p.t.Name(), "/")
		p.t.Errorf("event %q schema %d: there is no example %s: run %s=1 go test -run '^%s$' . and commit the file", typ.Name, schema, path, writePayloads, test)
		return
	}
	data, err := p.example(typ.Payload)
	if err == nil {
		err = createFile(path, data)
	}
	if err != nil {
		p.t.Errorf("event %q schema %d: %v: write %s by hand", typ.Name, schema, err, path)
		return
	}
	p.t.Logf("wrote %s: commit it", path)
	id := payloadID{typ.Name, schema}
	p.files[id] = append(p.files[id], name)
}

// example is an encoded value of the type.
func (p *payloads[A]) example(typ reflect.Type) ([]byte, error) {
	v, err := exampleOf(typ)
	if err != nil {
		return nil, err
	}
	codec := p.spec.Codec()
	data, err := codec.Encode(v.Interface())
	if err != nil || codec.Name() != envelope.CodecJSON {
		return data, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// createFile writes a file that does not exist yet.
func createFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// check proves that one example can be read, and when it is of the current
// schema, written.
func (p *payloads[A]) check(name string, id payloadID, current bool) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		p.t.Errorf("event %q schema %d: %v", id.event, id.schema, err)
		return
	}
	_, ext, _ := cutLast(name)
	rec := envelope.Record{
		Stream: p.spec.Stream("example"), Version: 1, Name: id.event, Schema: id.schema,
		Codec: eventOfWord(ext), Data: data, Time: Now,
	}
	read, err := p.decode(&rec)
	if err != nil {
		p.t.Errorf("%s cannot be read any more: %v", path, err)
		return
	}
	if !current {
		return
	}
	codec, err := p.spec.Codecs().Lookup(rec.Codec)
	if err == nil {
		var again []byte
		if again, err = codec.Encode(read[0]); err == nil { // a current schema is one payload
			err = sameData(rec.Codec, data, again)
		}
	}
	if err != nil {
		p.t.Errorf("%s, read and written again, is not what it was: %v", path, err)
	}
}

// decode is [aggregate.Spec.DecodeAll], with an upcaster's panic as an error.
func (p *payloads[A]) decode(rec *envelope.Record) (read []any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("its upcaster panicked: %v", v)
		}
	}()
	return p.spec.DecodeAll(rec)
}

// sameData says how now, which codec wrote, differs from old. In JSON the order
// of fields and white space make no difference; any other codec must give the
// same bytes.
func sameData(codec string, old, now []byte) error {
	if codec != envelope.CodecJSON {
		if !bytes.Equal(old, now) {
			return fmt.Errorf("got %q, want %q", now, old)
		}
		return nil
	}
	was, err := parseJSON(old)
	if err != nil {
		return err
	}
	is, err := parseJSON(now)
	if err != nil {
		return err
	}
	return diffJSON("", was, is)
}

func parseJSON(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// diffJSON returns the first difference below path as an error.
func diffJSON(path string, was, is any) error {
	switch old := was.(type) {
	case map[string]any:
		now, ok := is.(map[string]any)
		if !ok {
			break
		}
		for _, key := range sortedKeys(old) {
			sub := strings.TrimPrefix(path+"."+key, ".")
			v, ok := now[key]
			if !ok {
				return fmt.Errorf("%s is lost", sub)
			}
			if err := diffJSON(sub, old[key], v); err != nil {
				return err
			}
		}
		for _, key := range sortedKeys(now) {
			if _, ok := old[key]; !ok {
				return fmt.Errorf("%s is new", strings.TrimPrefix(path+"."+key, "."))
			}
		}
		return nil
	case []any:
		now, ok := is.([]any)
		if !ok || len(old) != len(now) {
			break
		}
		for i := range old {
			if err := diffJSON(fmt.Sprintf("%s[%d]", path, i), old[i], now[i]); err != nil {
				return err
			}
		}
		return nil
	case json.Number:
		if now, ok := is.(json.Number); ok && sameNumber(old, now) {
			return nil
		}
	default:
		if was == is {
			return nil
		}
	}
	a, _ := json.Marshal(was)
	b, _ := json.Marshal(is)
	return fmt.Errorf("%s was %s and is %s", cmp.Or(path, "the payload"), a, b)
}
