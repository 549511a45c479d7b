package aggregate_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

type noRoot struct{}

type pointerRoot struct{ *aggregate.Root }

// Every mistake in a definition is found while package variables are built,
// and the text names it.
func TestDefinePanics(t *testing.T) {
	t.Parallel()
	type step = func(int) int
	tick := func() *aggregate.Event[purse, ticked] {
		return aggregate.On("ticked", func(*purse, ticked) {})
	}
	define := func(parts ...aggregate.Part[purse]) func() {
		return func() { aggregate.Define("purse", parts...) }
	}
	snapshots := aggregate.Snapshots(1, takeState, restoreState)
	used := tick()
	define(used)()
	for name, c := range map[string]struct {
		f    func()
		want string
	}{
		"BlankType":        {func() { aggregate.Define[purse](" ") }, `aggregate: invalid aggregate type " ": is blank`},
		"LongType":         {func() { aggregate.Define[purse](strings.Repeat("x", 256)) }, `has 256 bytes, at most 255 are allowed`},
		"NoRoot":           {func() { aggregate.Define[noRoot]("x") }, `aggregate_test.noRoot does not embed aggregate.Root`},
		"PointerRoot":      {func() { aggregate.Define[pointerRoot]("x") }, `embeds a pointer to aggregate.Root`},
		"BlankEvent":       {define(aggregate.On("", func(*purse, ticked) {})), `aggregate: purse: invalid event name "": is blank`},
		"EventTwice":       {define(tick(), tick()), `aggregate: purse: event "ticked" is defined twice`},
		"EventOfAnother":   {define(used), `event "ticked" is part of aggregate purse already`},
		"NoMutator":        {define(aggregate.On[purse, ticked]("ticked", nil)), `event "ticked" has no function that applies it`},
		"SchemaZero":       {define(tick().Schema(0)), `event "ticked" has schema 0; schemas count from 1`},
		"NoUpcaster":       {define(tick().Schema(2)), `event "ticked" is at schema 2 but has no upcaster from=1`},
		"UpcasterGap":      {define(aggregate.Upcast(tick().Schema(3), 1, func(int) int { return 0 })), `has no upcaster from=2`},
		"UpcasterTooHigh":  {define(aggregate.Upcast(tick(), 1, func(int) ticked { return ticked{} })), `an upcaster from=1 leads nowhere`},
		"UpcasterFromZero": {define(aggregate.Upcast(tick(), 0, func(int) ticked { return ticked{} })), `an upcaster from=0 leads nowhere`},
		"UpcasterTwice": {func() {
			f := func(int) ticked { return ticked{} }
			aggregate.Upcast(aggregate.Upcast(tick().Schema(2), 1, f), 1, f)
		}, `event "ticked" has two upcasters from schema 1`},
		"UpcasterWrongEnd": {define(aggregate.Upcast(tick().Schema(2), 1, step(nil))), `the upcaster from=1 gives int, the next step needs aggregate_test.ticked`},
		"UpcasterWrongStep": {define(aggregate.Upcast(aggregate.Upcast(tick().Schema(3), 1, func(int) int { return 0 }), 2, func(string) ticked { return ticked{} })),
			`the upcaster from=1 gives int, the next step needs string`},
		"SnapshotsTwice":     {define(snapshots, snapshots), `aggregate: purse: snapshots are defined twice`},
		"SnapshotSchemaZero": {define(aggregate.Snapshots(0, takeState, restoreState)), `snapshot schema is 0; schemas count from 1`},
		"CodecTwice":         {func() { aggregate.Define[purse]("x").WithCodec(gobCodec{}, gobCodec{}) }, `is registered twice`},
		"CommandBlank": {func() {
			aggregate.NewCommand("", func(*aggregate.Context, *purse, input) (int, error) { return 0, nil })
		}, `aggregate: invalid command name "": is blank`},
		"CommandNoHandler": {func() { aggregate.NewCommand[purse, input, int]("x", nil) }, `aggregate: command "x" has no handler`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, panicText(t, c.f), c.want)
		})
	}
}

func TestSpecAnswers(t *testing.T) {
	t.Parallel()
	require.Equal(t, "purse", spec.Type())
	require.Equal(t, envelope.Stream{Type: "purse", ID: "7"}, spec.Stream("7"))
	require.Equal(t, "json", spec.Codec().Name())
	require.True(t, spec.HasSnapshots())
	require.False(t, aggregate.Define[purse]("x").HasSnapshots())
	require.Equal(t, "opened", on.opened.Name())
	require.Equal(t, "take", take.Name())

	var names []string
	for e := range spec.Events() {
		names = append(names, e.Name)
		if e.Name == "opened" {
			require.EqualValues(t, 3, e.Schema)
			require.Equal(t, "opened", e.Payload.Name())
		}
	}
	require.Equal(t, []string{"odd", "opened", "taken", "ticked"}, names)
}
