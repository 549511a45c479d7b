package main

const plainjsonPath = "github.com/troupe-go/troupe/envelope/plainjson"

// json writes the JSON methods of all payloads, of the snapshot and the baseline.
func (g *emitter) json() {
	g.p("")
	for _, e := range g.events {
		g.jsonMethods(e.file, e.payload, e.eventFields())
	}
	if g.snapshot > 0 {
		g.jsonMethods(g.file, g.prefix+"Snapshot", g.snapshotFields())
	}
	if g.baseline != nil {
		g.jsonMethods(g.file, g.baselineType(), g.fields)
	}
}

// jsonMethods writes AppendJSON and DecodeJSON of the struct typ, if all its
// fields are plain: of types whose JSON this program knows. Another struct is
// left to encoding/json.
func (g *emitter) jsonMethods(f *file, typ string, fields []field) {
	types := make([]jsonType, len(fields))
	for i, fld := range fields {
		t, ok := g.jsonType(f, fld.expr)
		if !ok || !isPlain(fld.tag, "_-.") || fld.name == "AppendJSON" || fld.name == "DecodeJSON" {
			return
		}
		types[i] = t
	}
	if !g.jsonAllowed(typ) {
		return
	}
	g.im.own("plainjson", plainjsonPath, g.spec.Pos())
	g.appendJSON(typ, fields, types)
	g.decodeJSON(typ, fields, types)
}

func (g *emitter) appendJSON(typ string, fields []field, types []jsonType) {
	g.p("// AppendJSON implements [envelope.JSONAppender].")
	if len(fields) == 0 {
		g.p("func (%s) AppendJSON(dst []byte) ([]byte, error) { return append(dst, \"{}\"...), nil }\n", typ)
		return
	}
	g.p("func (e %s) AppendJSON(dst []byte) ([]byte, error) {\n\tenc := plainjson.NewEncoder(dst)", typ)
	before := "{"
	for i, f := range fields {
		value, key := "e."+f.name, before+`"`+f.tag+`":`
		switch t := types[i]; t.shape {
		case jsonScalar:
			g.p("\t%s", t.encode("`"+key+"`", value))
		case jsonPointer:
			g.p("\tif %s == nil {\n\t\tenc.Raw(`%snull`)\n\t} else {", value, key)
			g.p("\t\t%s\n\t}", t.encode("`"+key+"`", "*"+value))
		case jsonSlice:
			g.p("\tif %s == nil {\n\t\tenc.Raw(`%snull`)\n\t} else {\n\t\tenc.Raw(`%s[`)", value, key, key)
			g.p("\t\tfor i, x := range %s {\n\t\t\t%s\n\t\t}", value, t.encode("plainjson.Comma(i)", "x"))
			g.p("\t\tenc.Raw(`]`)\n\t}")
		}
		before = ","
	}
	g.p("\treturn enc.End()\n}\n")
}

func (g *emitter) decodeJSON(typ string, fields []field, types []jsonType) {
	g.p("// DecodeJSON implements [envelope.JSONDecoder].")
	g.p("func (e *%s) DecodeJSON(data []byte) error {", typ)
	if len(fields) == 0 {
		g.p("\tif string(data) == \"{}\" {\n\t\treturn nil\n\t}\n\treturn plainjson.Unmarshal(data, e)\n}\n")
		return
	}
	g.p("\tv, dec := *e, plainjson.NewDecoder(data)")
	g.p("\tfor dec.Next() {\n\t\tswitch string(dec.Key()) {")
	for i, f := range fields {
		g.p("\t\tcase %q:", f.tag)
		switch t := types[i]; t.shape {
		case jsonScalar:
			g.p("\t\t\tv.%s = %s", f.name, t.decode())
		case jsonPointer:
			g.p("\t\t\tv.%s = nil\n\t\t\tif !dec.Null() {", f.name)
			g.p("\t\t\t\tv.%s = new(%s)\n\t\t\t}", f.name, t.decode())
		case jsonSlice:
			g.p("\t\t\tv.%s = nil\n\t\t\tif dec.Array() {\n\t\t\t\tv.%s = %s{}", f.name, f.name, f.typ)
			g.p("\t\t\t\tfor dec.Item() {\n\t\t\t\t\tv.%s = append(v.%s, %s)\n\t\t\t\t}\n\t\t\t}", f.name, f.name, t.decode())
		}
	}
	g.p("\t\tdefault:\n\t\t\tdec.Refuse()\n\t\t}\n\t}")
	g.p("\tif !dec.Done() {\n\t\treturn plainjson.Unmarshal(data, e)\n\t}")
	g.p("\t*e = v\n\treturn nil\n}\n")
}

// encode is the call that appends value behind the text before.
func (t jsonType) encode(before, value string) string {
	if t.conv {
		value = t.basic + "(" + value + ")"
	}
	return "enc." + t.kind + "(" + before + ", " + value + ")"
}

// decode is the expression that reads a value.
func (t jsonType) decode() string {
	value := "dec." + t.kind + "(" + t.bits + ")"
	if t.conv {
		return t.typ + "(" + value + ")"
	}
	return value
}
