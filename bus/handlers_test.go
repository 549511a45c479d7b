package bus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// bytesCodec is somebody's own codec of the name "bytes".
type bytesCodec struct{ envelope.Codec }

func (bytesCodec) Name() string { return "bytes" }

func (bytesCodec) Decode(data []byte, v any) error {
	*v.(*string) = "own:" + string(data)
	return nil
}

// TestTypedCodecs: a payload is decoded by the codec that its message names, and
// as JSON where that is none, as in what the outbox of a Rust service sends.
func TestTypedCodecs(t *testing.T) {
	t.Parallel()
	own, err := envelope.NewCodecs(bytesCodec{envelope.JSON})
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		codecs *envelope.Codecs
		codec  string
		data   string
		want   string
		err    error
	}{
		{name: "none is named", data: `"tea"`, want: "tea"},
		{name: "JSON", codec: "json", data: `"tea"`, want: "tea"},
		{name: "bytes of a Rust service", codec: "bytes", data: `"tea"`, want: "tea"},
		{name: "bytes beside other codecs", codecs: own, codec: "json", data: `"tea"`, want: "tea"},
		{name: "bytes of one's own", codecs: own, codec: "bytes", data: `"tea"`, want: `own:"tea"`},
		{name: "unknown", codec: "bitcode", data: `"tea"`, err: envelope.ErrUnknownCodec},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			h := bus.Typed(c.codecs, func(_ context.Context, in string, _ *envelope.Message) error {
				got = in
				return nil
			})
			err := h(t.Context(), &envelope.Message{Kind: envelope.KindEvent, Name: "order.shipped", Codec: c.codec, Data: []byte(c.data)})
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.err != nil, bus.IsPermanent(err))
			require.Equal(t, c.want, got)
		})
	}
}
