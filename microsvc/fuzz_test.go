package microsvc_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
)

// FuzzInput: whatever the bytes, an input is what encoding/json makes of them, or
// a 400 that has a reason.
func FuzzInput(f *testing.F) {
	type input struct {
		Text  string           `json:"text"`
		N     int64            `json:"n"`
		F     float64          `json:"f"`
		Items []map[string]any `json:"items"`
	}
	for _, seed := range []string{
		`{"text":"a","n":1,"f":1e3,"items":[{"a":[1,2]}]}`, `{"text":"\ud800"}`, `{"n":1e400}`, `{"text":"\"{["}`, "null", "", "{", "[[[[[[[[",
		"{\"text\":\"\xff\"}", `{"text":"a"}}`, `{"text":1}`, "\ufeff{}", `{"text":"a\`, `{"TEXT":"b","text":"a"}`, `{"text":"é😀 \\é"}`,
	} {
		f.Add([]byte(seed))
	}
	o := quiet()
	o.MaxDepth = 8
	var got input
	svc := microsvc.New("s").WithOptions(o).Register(microsvc.Handle("a", func(_ *microsvc.Context, in input) (any, error) {
		got = in
		return nil, nil
	}, microsvc.Require("", func(c *microsvc.Context) bool { c.HasField("text"); return true })))
	f.Fuzz(func(t *testing.T, data []byte) {
		got = input{}
		_, err := svc.Dispatch(t.Context(), "a", data, nil)
		if err != nil {
			require.ErrorIs(t, err, microsvc.ErrDecode)
			require.Equal(t, 400, microsvc.Status(err))
			require.True(t, utf8.ValidString(err.Error()), "%q", err.Error())
			var value input
			reason := json.Unmarshal(data, &value) != nil || !utf8.Valid(data) || string(bytes.TrimSpace(data)) == "null" ||
				bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > o.MaxDepth
			require.True(t, reason, "%q: %v", data, err)
			return
		}
		require.True(t, utf8.Valid(data))
		var want input
		require.NoError(t, json.Unmarshal(data, &want))
		require.Equal(t, want, got)
	})
}
