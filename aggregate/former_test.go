package aggregate_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

// A box moves; its model changed over the years.
type box struct {
	aggregate.Root
	Place  string
	Weight int
	Log    []string
}

type (
	boxEvent  interface{ isBoxEvent() }
	boxLeft   struct{ From string }
	boxCame   struct{ To string }
	boxWeight struct{ Grams int }

	movedV1 struct{ Path string }
	moved   struct{ From, To string }
)

func (boxLeft) isBoxEvent()   {}
func (boxCame) isBoxEvent()   {}
func (boxWeight) isBoxEvent() {}

func (e boxLeft) Apply(b *box)   { b.Place, b.Log = "", append(b.Log, "left "+e.From) }
func (e boxCame) Apply(b *box)   { b.Place, b.Log = e.To, append(b.Log, "came "+e.To) }
func (e boxWeight) Apply(b *box) { b.Weight, b.Log = e.Grams, append(b.Log, "weighed") }

func boxSpec() *aggregate.Spec[box] {
	former := aggregate.Former[box, moved]("moved").Schema(2)
	aggregate.Upcast(former, 1, func(old movedV1) moved { return moved{From: old.Path[:1], To: old.Path[1:]} })
	return aggregate.Define("box",
		aggregate.Applies[box, boxLeft]("left"),
		aggregate.Applies[box, boxCame]("came"),
		aggregate.Applies[box, boxWeight]("weighed").Formerly("measured", "scaled"),
		aggregate.Split(former, func(m moved) []boxEvent { return []boxEvent{boxLeft{m.From}, boxCame{m.To}} }),
		aggregate.Split(aggregate.Former[box, struct{}]("blinked"), func(struct{}) []boxEvent { return nil }),
		aggregate.Drop[box]("painted"),
	)
}

func openMemory(t *testing.T) journal.Journal {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j
}

func boxRecord(version uint64, name string, schema uint32, data string) envelope.Record {
	return envelope.Record{
		Stream: envelope.Stream{Type: "box", ID: "1"}, Version: version, Name: name, Schema: schema,
		Codec: envelope.CodecJSON, Data: []byte(data),
	}
}

// Versions count records: a record that is read as two events is one version,
// and so is one that is read as none.
func TestFormerEventsCountAsRecords(t *testing.T) {
	t.Parallel()
	spec := boxSpec()
	j := openMemory(t)
	_, err := journal.Commit(t.Context(), j, &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{{
		Stream: spec.Stream("1"), Records: []envelope.Record{
			boxRecord(1, "came", 1, `{"To":"A"}`),
			boxRecord(2, "moved", 1, `{"Path":"AB"}`),
			boxRecord(3, "painted", 7, `not even JSON`),
			boxRecord(4, "measured", 1, `{"Grams":5}`),
			boxRecord(5, "moved", 2, `{"From":"B","To":"C"}`),
			boxRecord(6, "blinked", 1, `{}`),
			boxRecord(7, "scaled", 1, `{"Grams":6}`),
		},
	}}})
	require.NoError(t, err)
	repo, err := aggregate.NewRepository(j, spec, nil)
	require.NoError(t, err)
	b, err := repo.Load(t.Context(), "1")
	require.NoError(t, err)
	require.EqualValues(t, 7, b.Version())
	require.Equal(t, []string{"came A", "left A", "came B", "weighed", "left B", "came C", "weighed"}, b.Log)
	require.Equal(t, 6, b.Weight)

	// What comes next is version 8, stored under the current name.
	require.NoError(t, spec.Record(b, boxWeight{9}))
	require.NoError(t, repo.Commit(t.Context(), b))
	var last envelope.Record
	for rec, err := range j.Load(t.Context(), spec.Stream("1"), 7) {
		require.NoError(t, err)
		last = rec
	}
	require.EqualValues(t, 8, last.Version)
	require.Equal(t, "weighed", last.Name)
}

func TestDecodeFormerEvents(t *testing.T) {
	t.Parallel()
	spec := boxSpec()
	rec := boxRecord(1, "moved", 1, `{"Path":"AB"}`)
	all, err := spec.DecodeAll(&rec)
	require.NoError(t, err)
	require.Equal(t, []any{boxLeft{"A"}, boxCame{"B"}}, all)
	_, err = spec.Decode(&rec)
	require.ErrorIs(t, err, aggregate.ErrReplay)
	require.ErrorContains(t, err, "read as 2 events: use DecodeAll")

	rec = boxRecord(1, "painted", 1, ``)
	all, err = spec.DecodeAll(&rec)
	require.NoError(t, err)
	require.Empty(t, all)

	rec = boxRecord(1, "scaled", 1, `{"Grams":3}`)
	one, err := spec.Decode(&rec)
	require.NoError(t, err)
	require.Equal(t, boxWeight{3}, one)

	var names []string
	for e := range spec.Events() {
		names = append(names, e.Name)
	}
	require.Equal(t, []string{"came", "left", "weighed"}, names, "former events are not recorded")
}

func TestFormerEventFaults(t *testing.T) {
	t.Parallel()
	spec := boxSpec()
	for _, c := range []struct {
		rec  envelope.Record
		want string
	}{
		{boxRecord(1, "moved", 3, `{}`), "unknown schema"},
		{boxRecord(1, "moved", 2, `[]`), "cannot unmarshal"},
		{boxRecord(1, "sunk", 1, `{}`), "unknown event"},
	} {
		err := spec.Replay(spec.New("1"), &c.rec)
		require.ErrorIs(t, err, aggregate.ErrReplay)
		require.ErrorContains(t, err, c.want)
	}
	stranger := aggregate.Define("box",
		aggregate.Applies[box, boxLeft]("left"),
		aggregate.Split(aggregate.Former[box, moved]("moved"), func(moved) []any { return []any{boxCame{}} }))
	rec := boxRecord(1, "moved", 1, `{}`)
	require.ErrorContains(t, stranger.Replay(stranger.New("1"), &rec), `former event "moved": invalid event payload "aggregate_test.boxCame": is not the payload of an event of box`)
}

func TestFormerEventMistakes(t *testing.T) {
	t.Parallel()
	left := func() *aggregate.Event[box, boxLeft] { return aggregate.Applies[box, boxLeft]("left") }
	none := func(moved) []boxEvent { return nil }
	for want, parts := range map[string][]aggregate.Part[box]{
		`box: event "left" is defined twice`:                                            {left(), aggregate.Drop[box]("left")},
		`box: event "moved" is defined twice`:                                           {left().Formerly("moved"), aggregate.Split(aggregate.Former[box, moved]("moved"), none)},
		`box: event "came" is defined twice`:                                            {left().Formerly("came"), aggregate.Applies[box, boxCame]("came")},
		`box: former event "moved" has schema 0`:                                        {aggregate.Split(aggregate.Former[box, moved]("moved").Schema(0), none)},
		`box: event "moved" is at schema 2 but has no upcaster from=1`:                  {aggregate.Split(aggregate.Former[box, moved]("moved").Schema(2), none)},
		`box: event "left" is split, but is still recorded`:                             {aggregate.Split(left(), func(boxLeft) []boxEvent { return nil })},
		`box: a split lacks its former event or its function`:                           {aggregate.Split[box, moved, boxEvent](aggregate.Former[box, moved]("moved"), nil)},
		`box: event "moved" has no function that applies it`:                            {aggregate.Former[box, moved]("moved")},
		`box: invalid event name "": is blank`:                                          {aggregate.Drop[box]("")},
		`box: part 1 is nil: package variables are built in order of dependency`:        {left(), nil},
		`box: an event is nil: package variables are built in order of dependency, so `: {(*aggregate.Event[box, boxLeft])(nil)},
	} {
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			aggregate.Define("box", parts...)
		}()
	}
}

func TestRecordByPayload(t *testing.T) {
	t.Parallel()
	spec := boxSpec()
	b := spec.New("1")
	require.NoError(t, spec.Record(b, boxCame{"A"}))
	require.Equal(t, "A", b.Place)
	require.Equal(t, "came", spec.Pending(b)[0].Name)
	require.ErrorIs(t, spec.Record(b, moved{}), aggregate.ErrInvalid)
	require.ErrorContains(t, spec.Record(b, nil), `invalid event payload "<nil>": is not the payload of an event of box`)
	require.EqualValues(t, 1, b.Version())

	shared := aggregate.Define("box", aggregate.Applies[box, boxLeft]("left"), aggregate.Applies[box, boxLeft]("gone"))
	require.ErrorContains(t, shared.Record(shared.New("1"), boxLeft{}), "is the payload of several events of box")
}

// A struct may keep its Root in a field.
type kept struct {
	root  aggregate.Root
	Count int
}

func (k *kept) AggregateRoot() *aggregate.Root { return &k.root }

type keptTicked struct{}

func (keptTicked) Apply(k *kept) { k.Count++ }

type tickKept struct{ ID string }

func (c tickKept) AggregateID() string { return c.ID }

func TestRootInAField(t *testing.T) {
	t.Parallel()
	spec := aggregate.Define("kept", aggregate.Applies[kept, keptTicked]("ticked"))
	cmd := aggregate.NewCommand("kept.tick", func(_ *aggregate.Context, k *kept, _ tickKept) (int, error) {
		err := spec.Record(k, keptTicked{})
		return k.Count, err
	})
	repo, err := aggregate.NewRepository(openMemory(t), spec, nil)
	require.NoError(t, err)
	for want := 1; want <= 3; want++ {
		got, err := cmd.Ask(context.Background(), repo, tickKept{"1"})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	k, err := repo.Load(t.Context(), "1")
	require.NoError(t, err)
	require.EqualValues(t, 3, spec.Version(k))
}
