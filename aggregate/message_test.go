package aggregate_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

type parcel struct {
	aggregate.Root
	Place string
}

type parcelMoved struct {
	To string `json:"to"`
}

type parcelState struct {
	Place string `json:"place"`
}

var (
	onParcelMoved = aggregate.On("moved", func(p *parcel, e parcelMoved) { p.Place = e.To })
	parcels       = aggregate.Define("parcel", onParcelMoved, aggregate.Snapshots(1,
		func(p *parcel) parcelState { return parcelState{p.Place} }, func(p *parcel, s parcelState) { p.Place = s.Place }))
)

func TestRepositoryCommitsMessagesWithEvents(t *testing.T) {
	t.Parallel()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	r, err := aggregate.NewRepository(j, parcels, nil)
	require.NoError(t, err)
	p := parcels.New("7")
	p.SetMetadata(envelope.Metadata{CorrelationID: "conversation"})
	require.NoError(t, onParcelMoved.Record(p, parcelMoved{"Ulm"}))
	state, err := parcels.EventMessage(p, "parcel.moved", nil)
	require.NoError(t, err)
	asked, err := parcels.CommandMessage(p, "billing", "invoice.create", map[string]int{"cents": 5})
	require.NoError(t, err)
	asked.ID = "of my choice"
	require.NoError(t, r.CommitWith(t.Context(), []envelope.Message{state, asked}, p))

	var got []envelope.StoredMessage
	for m, err := range j.Messages(t.Context(), 0, 0) {
		require.NoError(t, err)
		got = append(got, m)
	}
	require.Len(t, got, 2)
	require.Equal(t, "7:parcel.moved:1", got[0].ID)
	require.Equal(t, envelope.Stream{Type: "parcel", ID: "7"}, got[0].Source)
	require.EqualValues(t, 1, got[0].SourceVersion)
	require.Equal(t, "conversation", got[0].Metadata.CorrelationID)
	require.JSONEq(t, `{"place":"Ulm"}`, string(got[0].Data))
	require.Equal(t, []string{"of my choice", "billing"}, []string{got[1].ID, got[1].Destination})
	require.True(t, json.Valid(got[1].Data))

	// A message whose id is taken keeps the events from being stored, too.
	require.NoError(t, onParcelMoved.Record(p, parcelMoved{"Bonn"}))
	require.ErrorIs(t, r.CommitWith(t.Context(), []envelope.Message{state}, p), journal.ErrMessageExists)
	stored, err := r.Peek(t.Context(), "7")
	require.NoError(t, err)
	require.Equal(t, "Ulm", stored.Place)

	_, err = parcels.EventMessage(p, "", nil)
	require.ErrorIs(t, err, envelope.ErrInvalid)
	_, err = parcels.EventMessage(p, "n", func() {})
	require.ErrorIs(t, err, aggregate.ErrInvalid)
	require.NoError(t, r.CommitWith(t.Context(), []envelope.Message{{ID: "alone", Kind: envelope.KindEvent, Name: "n"}}))
}
