package envelope_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
)

// swift has JSON methods that betray themselves: what they read and write is
// not what encoding/json would.
type swift struct {
	Text string `json:"text"`
}

func (s swift) AppendJSON(dst []byte) ([]byte, error) {
	if s.Text == "refuse" {
		return nil, errors.New("refused")
	}
	return append(dst, "swift"...), nil
}

func (s *swift) DecodeJSON([]byte) error {
	s.Text = "swift"
	return nil
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := envelope.JSON.Encode(v)
	require.NoError(t, err)
	return string(data)
}

func TestJSONUsesTheMethodsOfAStruct(t *testing.T) {
	t.Parallel()
	require.Equal(t, "swift", encode(t, swift{"x"}))
	var s swift
	require.NoError(t, envelope.JSON.Decode([]byte(`{"text":"x"}`), &s))
	require.Equal(t, "swift", s.Text)
}

func TestJSONAsksEncodingJSONAfterAnError(t *testing.T) {
	t.Parallel()
	require.JSONEq(t, `{"text":"refuse"}`, encode(t, swift{"refuse"}))
}

// Types whose methods are not all there is to them.
type (
	embeds  struct{ swift }
	extends struct {
		swift
		More int `json:"more"`
	}
	pointsTo struct {
		*swift
		More int `json:"more"`
	}
	defined swift
	loud    string
)

func (l loud) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(l))), nil }

// withLoud and withLouds have a field that encodes itself, and methods that do
// not know it.
type (
	withLoud  struct{ Loud loud }
	withLouds struct{ Loud []loud }
	ownJSON   struct{ Text string }
)

func (withLoud) AppendJSON(dst []byte) ([]byte, error)  { return append(dst, "swift"...), nil }
func (withLouds) AppendJSON(dst []byte) ([]byte, error) { return append(dst, "swift"...), nil }
func (ownJSON) AppendJSON(dst []byte) ([]byte, error)   { return append(dst, "swift"...), nil }
func (ownJSON) MarshalJSON() ([]byte, error)            { return []byte(`"own"`), nil }

func TestJSONLeavesOthersToEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		embeds{swift{"x"}}, extends{swift{"x"}, 1}, pointsTo{&swift{"x"}, 1}, pointsTo{}, defined{"x"},
		&swift{"x"}, (*swift)(nil), withLoud{"x"}, withLouds{[]loud{"x"}}, ownJSON{"x"}, nil, 1, "x",
	} {
		want, err := json.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, string(want), encode(t, v), "%T", v)
	}
	var e extends
	require.NoError(t, envelope.JSON.Decode([]byte(`{"text":"x","more":1}`), &e))
	require.Equal(t, extends{swift{"x"}, 1}, e)
	var d defined
	require.NoError(t, envelope.JSON.Decode([]byte(`{"text":"x"}`), &d))
	require.Equal(t, defined{"x"}, d)
	require.Error(t, envelope.JSON.Decode([]byte(`{}`), (*swift)(nil)))
	require.Error(t, envelope.JSON.Decode([]byte(`{}`), swift{}))
}

// What Encode returns is the caller's: the next call does not change it.
func TestJSONEncodesIntoNewBytes(t *testing.T) {
	t.Parallel()
	first, err := envelope.JSON.Encode(swift{})
	require.NoError(t, err)
	clear(first)
	require.Equal(t, "swift", encode(t, swift{}))
}
