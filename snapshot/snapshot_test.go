package snapshot_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/snapshot"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy        snapshot.Policy
		version, last uint64
		due, idle     bool
	}{
		{snapshot.Policy{}, 0, 0, false, false},
		{snapshot.Policy{}, 9, 0, false, false},
		{snapshot.Policy{}, 10, 0, false, true},
		{snapshot.Policy{}, 99, 0, false, true},
		{snapshot.Policy{}, 100, 0, true, true},
		{snapshot.Policy{}, 199, 100, false, true},
		{snapshot.Policy{}, 105, 100, false, false},
		{snapshot.Policy{}, 5000, 100, true, true},
		{snapshot.Policy{}, 100, 100, false, false},
		{snapshot.Policy{}, 3, 500, false, false}, // one ahead of its stream: nothing is due, and nothing overflows
		{snapshot.Policy{Every: 3, AtPassivation: 1}, 2, 0, false, true},
		{snapshot.Policy{Every: 3, AtPassivation: 1}, 3, 0, true, true},
		{snapshot.Policy{Every: -1, AtPassivation: -1}, 1 << 40, 0, false, false},
		{snapshot.Policy{Every: -1}, 10, 0, false, true},
		{snapshot.Policy{AtPassivation: -1}, 100, 0, true, false},
	} {
		require.Equal(t, c.due, c.policy.Due(c.version, c.last), "due: %+v", c)
		require.Equal(t, c.idle, c.policy.DueAtPassivation(c.version, c.last), "due at passivation: %+v", c)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := func() snapshot.Snapshot {
		return snapshot.Snapshot{
			Stream: envelope.Stream{Type: "todo", ID: "1"}, Version: 1, Schema: 1, Codec: "json",
			Data: make([]byte, snapshot.MaxDataBytes),
		}
	}
	s := good()
	require.NoError(t, s.Validate())
	for field, spoil := range map[string]func(s *snapshot.Snapshot){
		"stream type":      func(s *snapshot.Snapshot) { s.Stream.Type = "" },
		"stream id":        func(s *snapshot.Snapshot) { s.Stream.ID = "\x00" },
		"snapshot version": func(s *snapshot.Snapshot) { s.Version = 0 },
		"snapshot schema":  func(s *snapshot.Snapshot) { s.Schema = 0 },
		"codec":            func(s *snapshot.Snapshot) { s.Codec = strings.Repeat("x", 33) },
		"snapshot data":    func(s *snapshot.Snapshot) { s.Data = make([]byte, snapshot.MaxDataBytes+1) },
	} {
		s := good()
		spoil(&s)
		var facts *envelope.InvalidError
		require.ErrorAs(t, s.Validate(), &facts)
		require.Equal(t, field, facts.Field)
	}
}

// What the fingerprints are taken of. The types inside functions share names
// with others on purpose: a type's own name is not part of its shape.
type (
	base struct {
		ID    string `json:"id"`
		Count int
		Tags  map[string][]item
		Next  *base
		When  time.Time
		note  string
	}
	item struct{ Name string }
)

var _ = base{note: ""}.note // unexported on purpose

func fingerprint[T any]() uint64 { return snapshot.Fingerprint(reflect.TypeFor[T]()) }

func TestSameShapeSameFingerprint(t *testing.T) {
	t.Parallel()
	type renamed struct {
		ID    string `json:"id"`
		Count int
		Tags  map[string][]item
		Next  *renamed
		When  time.Time
		other int64
	}
	_ = renamed{}.other
	require.Equal(t, fingerprint[base](), fingerprint[renamed](), "names of types and unexported fields do not count")
	require.Equal(t, uint64(0x8efa28a08331b570), fingerprint[item](),
		"the fingerprint is stored: another value makes every stored snapshot useless")
}

func TestEachChangeChangesTheFingerprint(t *testing.T) {
	t.Parallel()
	type otherTime struct{ t time.Time }
	_ = otherTime{}.t
	type embedded struct {
		item
		Count int
	}
	type tree struct{ Left, Right *tree }
	shapes := map[string]uint64{
		"base": fingerprint[base](),
		"field added": fingerprint[struct {
			Name, More string
		}](),
		"one field": fingerprint[struct{ Name string }](),
		"renamed":   fingerprint[struct{ Title string }](),
		"retagged": fingerprint[struct {
			Name string `json:"name"`
		}](),
		"retagged again": fingerprint[struct {
			Name string `json:"name,omitempty"`
		}](),
		"retyped":         fingerprint[struct{ Name int }](),
		"wider":           fingerprint[struct{ Name int64 }](),
		"unsigned":        fingerprint[struct{ Name uint64 }](),
		"pointer":         fingerprint[struct{ Name *string }](),
		"slice":           fingerprint[struct{ Name []string }](),
		"array of 2":      fingerprint[struct{ Name [2]string }](),
		"array of 3":      fingerprint[struct{ Name [3]string }](),
		"map":             fingerprint[struct{ Name map[string]string }](),
		"map key":         fingerprint[struct{ Name map[int]string }](),
		"map of slices":   fingerprint[struct{ Name map[string][]string }](),
		"any":             fingerprint[struct{ Name any }](),
		"nested":          fingerprint[struct{ Name item }](),
		"nested deeper":   fingerprint[struct{ Name struct{ Name item } }](),
		"time":            fingerprint[struct{ Name time.Time }](),
		"opaque struct":   fingerprint[struct{ Name otherTime }](),
		"empty struct":    fingerprint[struct{ Name struct{} }](),
		"embedded":        fingerprint[embedded](),
		"order":           fingerprint[struct{ B, A string }](),
		"other order":     fingerprint[struct{ A, B string }](),
		"recursive":       fingerprint[tree](),
		"recursive slice": fingerprint[struct{ Left, Right []tree }](),
		"plain string":    fingerprint[string](),
		"plain int":       fingerprint[int](),
	}
	byValue := map[uint64]string{}
	for name, value := range shapes {
		require.Empty(t, byValue[value], "%q has the fingerprint of %q", name, byValue[value])
		byValue[value] = name
	}
}

// Types that refer to themselves and to each other end, and are told apart.
func TestRecursiveTypes(t *testing.T) {
	t.Parallel()
	type list struct {
		Value int
		Next  *list
	}
	type list2 struct {
		Value int
		Next  *list
	}
	type nested struct{ Children map[string][]nested }
	require.NotEqual(t, fingerprint[list](), fingerprint[list2]())
	require.NotEqual(t, fingerprint[list](), fingerprint[nested]())
	type tree []tree
	require.NotEqual(t, fingerprint[tree](), fingerprint[[]int]())
}
