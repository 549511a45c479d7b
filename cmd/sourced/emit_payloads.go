package main

import (
	"fmt"
	"go/format"
)

// payloadsDir is where the stored examples are, from the package's folder.
const payloadsDir = "testdata/payloads"

// testFunc is the name of the generated test of a.
func (a *aggregateType) testFunc() string { return "Test" + a.prefix + "Payloads" }

// emitTest returns the generated test file of a.
func (s *source) emitTest(m *model, a *aggregateType) ([]byte, error) {
	g := &emitter{aggregateType: a, m: m, im: s.newImports()}
	g.im.own("testing", "testing", a.spec.Pos())
	g.im.own("aggregatetest", testPath, a.spec.Pos())
	g.p("// %s proves that the examples in %s, one for each", a.testFunc(), payloadsDir)
	g.p("// event and schema of [%s], can still be read.", a.name)
	g.p("func %s(t *testing.T) {", a.testFunc())
	g.p("\tt.Parallel()\n\taggregatetest.Payloads(t, %s, %q)\n}", m.specName(a), payloadsDir)
	text := fmt.Sprintf("%s\n\npackage %s\n\n%s\n%s", header, m.name, g.im.text(), g.String())
	out, err := format.Source([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("the test generated for %s does not parse, which is a mistake in sourced: %w\n%s", a.name, err, text)
	}
	return out, nil
}
