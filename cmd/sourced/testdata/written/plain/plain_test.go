package plain_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/cmd/sourced/testdata/written/plain"
	"github.com/troupe-go/troupe/envelope"
)

var (
	_ envelope.JSONAppender = plain.ThingSnapshot{}
	_ envelope.JSONDecoder  = (*plain.ThingSnapshot)(nil)
)

// thing is a snapshot made of a few values.
func thing(full bool, text string, n int64, u uint64, f float64, at time.Time, raw []byte) plain.ThingSnapshot {
	s := plain.ThingSnapshot{
		Text: text, Renamed: text, Bool: n&1 == 1,
		Int: int(n), Int8: int8(n), Int16: int16(n), Int32: int32(n), Int64: n, Rune: rune(n),
		Uint: uint(u), Uint8: uint8(u), Uint16: uint16(u), Uint32: uint32(u), Uint64: u, Byte: byte(u),
		Float32: float32(f), Float64: f, Time: at, Duration: time.Duration(n),
		Word: plain.Word(text), Flag: u&1 == 1, Level: plain.Level(n), Share: plain.Share(f), Alias: plain.Alias(text), Delay: plain.Delay(n),
	}
	if !full {
		return s
	}
	s.Bytes, s.Blob = raw, append(plain.Blob{}, raw...)
	s.Texts, s.Bools, s.Ints, s.Int8s = []string{text, ""}, []bool{true, s.Bool}, []int{int(n), 0}, []int8{int8(n)}
	s.Uint64s, s.Float32s, s.Float64s = []uint64{u}, []float32{1, float32(f)}, []float64{f, -f}
	s.Times, s.Durations, s.Blobs = []time.Time{at}, []time.Duration{1, s.Duration}, [][]byte{raw, nil, {}}
	s.Words, s.Levels = plain.Words{s.Word}, []plain.Level{}
	s.TextP, s.BoolP, s.IntP, s.Uint8P = new(text), new(s.Bool), new(s.Int), new(s.Uint8)
	s.Float32P, s.Float64P, s.TimeP, s.DurationP, s.WordP = new(s.Float32), new(f), new(at), new(s.Duration), new(s.Word)
	return s
}

var noon = time.Date(2026, 2, 3, 12, 0, 0, 120_000_000, time.UTC)

func full() plain.ThingSnapshot {
	return thing(true, "a word, größer", 42, 43, 1.5, noon, []byte("raw"))
}

// sameEncoding requires that the methods write what encoding/json writes.
func sameEncoding[T envelope.JSONAppender](t *testing.T, v T) {
	t.Helper()
	want, wantErr := json.Marshal(v)
	got, err := v.AppendJSON([]byte("kept"))
	require.Equal(t, wantErr == nil, err == nil, "%v, want %v", err, wantErr)
	if err == nil {
		require.Equal(t, "kept"+string(want), string(got))
	}
	got, err = envelope.JSON.Encode(v)
	require.Equal(t, errText(wantErr), errText(err))
	require.Equal(t, string(want), string(got))
}

// sameDecoding requires that the methods read what encoding/json reads, into
// what start returns.
func sameDecoding[T any, P interface {
	*T
	envelope.JSONDecoder
}](t *testing.T, data []byte, start func() T) {
	t.Helper()
	want, got := start(), start()
	wantErr := json.Unmarshal(data, &want)
	given := append([]byte(nil), data...)
	err := P(&got).DecodeJSON(given)
	require.Equal(t, string(data), string(given), "the bytes were changed")
	for i := range given {
		given[i] = 'x' // what was read must not change with it
	}
	require.Equal(t, errText(wantErr), errText(err))
	if !reflect.DeepEqual(want, got) {
		require.Equal(t, want, got)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func zero[T any]() (v T) { return v }

func sameDecodings(t *testing.T, data []byte) {
	t.Helper()
	sameDecoding(t, data, zero[plain.ThingText])
	sameDecoding(t, data, zero[plain.ThingNumbers])
	sameDecoding(t, data, zero[plain.ThingEmpty])
	sameDecoding(t, data, zero[plain.ThingSnapshot])
	sameDecoding(t, data, full)
}

var decodings = []string{
	``, ` `, `null`, `{}`, `[]`, `1`, `"x"`, `{`, `}`, `{}}`, `{} x`, "{}\x00", " {\n}\t\r", `{"`, `{"text`, `{"text"`, `{"text":`, `{"text":"`, `{"text":"x`,
	`{"text":"x"}`, ` { "text" : "x" } `, `{"text":"x",}`, `{,"text":"x"}`, `{"text":"x" "n":1}`, `{"text":"x";"n":1}`, `{"text":"x"]`,
	`{"text":"größe"}`, "{\"text\":\"\xff\"}", "{\"text\":\"a\nb\"}", `{"text":"\n"}`, `{"text":"\u00e9"}`, `{"text":"\ud800"}`, `{"text":"\x"}`, "{\"text\":\"\u2028\x7f\"}",
	`{"Text":"x"}`, `{"TEXT":"x","text":"y"}`, `{"text":"x","text":"y"}`, `{"t\u0065xt":"x"}`, `{"other":"x"}`, `{"other":{"a":[1,2]},"text":"x"}`,
	`{"text":null}`, `{"text":1}`, `{"text":true}`, `{"text":{}}`, `{"text":[]}`, `{"größe.x-1":"x"}`, `{"GRÖSSE.X-1":"x"}`,
	`{"n":1,"share":1.5,"at":"2026-02-03T12:00:00Z"}`, `{"n":-0}`, `{"n":01}`, `{"n":-}`, `{"n":+1}`, `{"n":1.0}`, `{"n":1e3}`, `{"n":"1"}`, `{"n":null}`, `{"n":1 2}`, `{"n":}`,
	`{"n":9223372036854775807}`, `{"n":-9223372036854775808}`, `{"n":9223372036854775808}`, `{"n":-9223372036854775809}`, `{"n":99999999999999999999}`,
	`{"share":0}`, `{"share":-0}`, `{"share":1e400}`, `{"share":1e-400}`, `{"share":.5}`, `{"share":5.}`, `{"share":1e}`, `{"share":1e+}`, `{"share":1E-7}`, `{"share":0x1}`, `{"share":1_0}`, `{"share":inf}`, `{"share":00}`, `{"share":-01.5}`,
	`{"at":null}`, `{"at":""}`, `{"at":"2026-02-30T12:00:00Z"}`, `{"at":"2026-02-03T12:00:00.123456789+01:00"}`, `{"at":"2026-02-03T12:00:00,5Z"}`, `{"at":"2026-02-03T1:00:00Z"}`, `{"at":"\u0032026-02-03T12:00:00Z"}`, `{"at":1}`,
	`{"bool":true}`, `{"bool":false}`, `{"bool":tru}`, `{"bool":trueX}`, `{"bool":1}`, `{"bool":null}`,
	`{"int8":127}`, `{"int8":128}`, `{"int8":-128}`, `{"int8":-129}`, `{"uint8":255}`, `{"uint8":256}`, `{"uint8":-1}`, `{"uint64":18446744073709551615}`, `{"uint64":18446744073709551616}`,
	`{"float32":3.4e38}`, `{"float32":3.5e38}`, `{"float32":1e-46}`,
	`{"bytes":"cmF3"}`, `{"bytes":"cmF"}`, `{"bytes":"cm\nF3"}`, `{"bytes":""}`, `{"bytes":null}`, `{"bytes":[1,2]}`, `{"blob":"cmF3"}`, `{"blobs":["cmF3",null,""]}`,
	`{"texts":["a","b"]}`, `{"texts":[]}`, `{"texts":null}`, `{"texts":[null]}`, `{"texts":["a",]}`, `{"texts":[,"a"]}`, `{"texts":["a" "b"]}`, `{"texts":["a"}`, `{"texts":["a"`, `{"texts":"a"}`, `{"texts":[["a"]]}`,
	`{"ints":[1,2,3],"ints":[4],"ints":[5,6]}`, `{"ints":[1,2,3],"ints":[null]}`, `{"ints":[1,2],"ints":null}`, `{"texts":["a"],"words":["b"]}`,
	`{"text_p":"x"}`, `{"text_p":null}`, `{"text_p":1}`, `{"int_p":1,"int_p":null,"int_p":2}`, `{"time_p":"2026-02-03T12:00:00Z"}`, `{"time_p":null}`, `{"uint8_p":256}`,
	`{"level":40000}`, `{"delay":1}`, `{"alias":"x"}`, `{"flag":true}`, `{"levels":[1,2]}`,
}

func TestDecodesLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, data := range decodings {
		sameDecodings(t, []byte(data))
	}
	data, err := json.Marshal(full())
	require.NoError(t, err)
	for i := range data {
		sameDecodings(t, data[:i])
		for _, c := range []byte(`"\{}[],:0-.e ntx` + "\x00\xff") {
			changed := append([]byte(nil), data...)
			changed[i] = c
			sameDecoding(t, changed, zero[plain.ThingSnapshot])
		}
	}
}

func TestEncodesLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	sameEncoding(t, plain.ThingEmpty{})
	sameEncoding(t, plain.ThingSnapshot{})
	sameEncoding(t, full())
	for c := range rune(0x3000) {
		sameEncoding(t, plain.ThingText{Text: "a" + string(c) + "b"})
	}
	for c := range 256 {
		sameEncoding(t, plain.ThingText{Text: string([]byte{byte(c), 'a'})})
		sameEncoding(t, plain.ThingText{Text: string([]byte{0xe2, byte(c)})})
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 1e-6, 9.99e-7, 1e21, 9.99e20, 1e-9, 1e-10, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64, math.MaxFloat32, math.SmallestNonzeroFloat32, math.Pi, math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, f := range []float64{f, -f, math.Nextafter(f, math.Inf(1)), math.Nextafter(f, math.Inf(-1)), float64(math.Nextafter32(float32(f), 0))} {
			sameEncoding(t, thing(true, "", 0, 0, f, noon, nil))
		}
	}
	for _, year := range []int{-1, 0, 9999, 10000} {
		sameEncoding(t, plain.ThingNumbers{At: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)})
	}
	for _, hours := range []int{-24, -23, 23, 24} {
		sameEncoding(t, plain.ThingNumbers{At: noon.In(time.FixedZone("", hours*3600))})
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range decodings {
		f.Add([]byte(data))
	}
	data, err := json.Marshal(full())
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) { sameDecodings(t, data) })
}

func FuzzEncode(f *testing.F) {
	f.Add(true, "a word", int64(1), uint64(2), 1.5, int64(1_000), int64(5), 3600, []byte("raw"))
	f.Add(false, "<a>&\u2028\xff\"\\\n", int64(math.MinInt64), uint64(math.MaxUint64), math.NaN(), int64(math.MaxInt64), int64(-1), -90_000, []byte(nil))
	f.Add(true, "größe", int64(-1), uint64(255), 1e-7, int64(253_402_300_800), int64(999_999_999), 0, []byte{})
	f.Fuzz(func(t *testing.T, full bool, text string, n int64, u uint64, x float64, sec, nsec int64, zone int, raw []byte) {
		at := time.Unix(sec, nsec).In(time.FixedZone("", zone))
		v := thing(full, text, n, u, x, at, raw)
		sameEncoding(t, v)
		sameEncoding(t, plain.ThingText{Text: text})
		sameEncoding(t, plain.ThingNumbers{N: n, Share: x, At: at})
		if data, err := json.Marshal(v); err == nil {
			sameDecoding(t, data, zero[plain.ThingSnapshot])
		}
	})
}

// What no method knows is left to encoding/json.
func TestOthersHaveNoMethods(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		plain.ThingLoud{}, plain.ThingLouds{}, plain.ThingOctets{}, plain.ThingTree{}, plain.ThingNested{}, plain.ThingPointers{},
		plain.ThingMapped{}, plain.ThingArray{}, plain.ThingMethodName{}, plain.ThingOwn{},
	} {
		_, appends := v.(envelope.JSONAppender)
		require.False(t, appends, "%T", v)
	}
	data, err := envelope.JSON.Encode(plain.ThingLoud{Loud: "loud"})
	require.NoError(t, err)
	require.JSONEq(t, `{"loud":"LOUD"}`, string(data))
}

// A struct that embeds a payload has its methods, which know nothing of the
// struct's other fields.
func TestEmbeddedPayload(t *testing.T) {
	t.Parallel()
	type outer struct {
		plain.ThingText
		More int `json:"more"`
	}
	data, err := envelope.JSON.Encode(outer{plain.ThingText{Text: "x"}, 1})
	require.NoError(t, err)
	require.Equal(t, `{"text":"x","more":1}`, string(data))
	var got outer
	require.NoError(t, envelope.JSON.Decode(data, &got))
	require.Equal(t, 1, got.More)
}

// It counts what the whole process allocates, so nothing runs beside it.
func TestAllocations(t *testing.T) {
	s := plain.ThingNumbers{N: 1, Share: 2, At: noon}
	buf := make([]byte, 0, 256)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = s.AppendJSON(buf[:0]) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = s.DecodeJSON(buf) }))
}
