package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
)

// What is encoded by hand is what the driver would send.
func TestParamsAreTheDriversBytes(t *testing.T) {
	t.Parallel()
	text := "metadata"
	at := time.Date(2026, 2, 3, 4, 5, 6, 789_123_000, time.UTC)
	before := time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	for _, c := range []struct {
		name   string
		encode func(*params)
		oid    uint32
		value  any
	}{
		{"Texts", func(p *params) { p.texts([]string{"a", "", "äöü"}) }, pgtype.TextArrayOID, []string{"a", "", "äöü"}},
		{"NoTexts", func(p *params) { p.texts(nil) }, pgtype.TextArrayOID, []string{}},
		{"NullsAtTheEnd", func(p *params) { p.nullableTexts([]*string{nil, &text, nil, nil}) }, pgtype.TextArrayOID, []*string{nil, &text}},
		{"Null", func(p *params) { p.nullableTexts([]*string{nil, &text}) }, pgtype.TextArrayOID, []*string{nil, &text}},
		{"Blobs", func(p *params) { p.blobs([][]byte{{1, 2}, nil, {}}) }, pgtype.ByteaArrayOID, [][]byte{{1, 2}, nil, {}}},
		{"Bigints", func(p *params) { p.bigints([]int64{-1, 0, 1 << 62}) }, pgtype.Int8ArrayOID, []int64{-1, 0, 1 << 62}},
		{"Smallints", func(p *params) { p.smallints([]int16{-1, 0, 1023}) }, pgtype.Int2ArrayOID, []int16{-1, 0, 1023}},
		{"Moments", func(p *params) { p.moments([]time.Time{at, before}) }, pgtype.TimestamptzArrayOID, []time.Time{at, before}},
		{"Bigint", func(p *params) { p.bigint(-7) }, pgtype.Int8OID, int64(-7)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want, err := pgtype.NewMap().Encode(c.oid, pgtype.BinaryFormatCode, c.value, nil)
			require.NoError(t, err)
			var p params
			p.bigint(1) // what came before does not matter
			c.encode(&p)
			require.Equal(t, want, p.values()[1])
			p.reset()
			c.encode(&p)
			require.Equal(t, want, p.values()[0])
		})
	}
}

func TestSharedValuesAreSentOnce(t *testing.T) {
	t.Parallel()
	var p params
	p.sharedTexts([]string{"a", "a"})
	p.sharedTexts([]string{"", ""})
	p.sharedTexts([]string{"a", "b"})
	p.sharedTexts(nil)
	p.sharedBigints([]int64{7})
	p.sharedSmallints([]int16{1, 2})
	v := p.values()
	require.Len(t, v, 12)
	array := func(encode func(*params)) []byte { var p params; encode(&p); return p.values()[0] }
	require.Equal(t, array(func(p *params) { p.texts(nil) }), v[0])
	require.Equal(t, "a", string(v[1]))
	require.NotNil(t, v[3], "empty, not NULL")
	require.Empty(t, v[3])
	require.Equal(t, array(func(p *params) { p.texts([]string{"a", "b"}) }), v[4])
	require.Nil(t, v[5])
	require.Nil(t, v[7])
	require.Equal(t, []byte{0, 0, 0, 0, 0, 0, 0, 7}, v[9])
	require.Equal(t, array(func(p *params) { p.smallints([]int16{1, 2}) }), v[10])
	require.Nil(t, v[11])
}

func TestBigintsAreRead(t *testing.T) {
	t.Parallel()
	var p params
	p.bigints([]int64{3, -1, 1 << 40})
	raw := p.values()[0]
	var got []int64
	n, ok := bigintsOf(raw, func(i int, v int64) { require.Len(t, got, i); got = append(got, v) })
	require.True(t, ok)
	require.Equal(t, 3, n)
	require.Equal(t, []int64{3, -1, 1 << 40}, got)
	for end := range raw {
		_, ok := bigintsOf(raw[:end], func(int, int64) {})
		require.False(t, ok, "%d of %d bytes", end, len(raw))
	}
}
