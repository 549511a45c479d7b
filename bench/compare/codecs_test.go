package compare_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	goccy "github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/envelope"
	bank "github.com/troupe-go/troupe/examples/bank/account"
)

// codecs are what could encode payloads. emitted is envelope.JSON with the
// methods that sourced writes.
var codecs = []struct {
	name   string
	encode func(any) ([]byte, error)
	decode func([]byte, any) error
}{
	{"encoding-json", json.Marshal, json.Unmarshal},
	{"json-v2",
		func(v any) ([]byte, error) { return jsonv2.Marshal(v) },
		func(data []byte, v any) error { return jsonv2.Unmarshal(data, v) }},
	{"goccy", goccy.Marshal, goccy.Unmarshal},
	{"emitted", envelope.JSON.Encode, envelope.JSON.Decode},
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 123_456_000, time.UTC)

// payloads are an event of the bank with a time, that of the workload W, and a
// large one.
var payloads = []any{
	bank.AccountOpened{ID: "acc-0000417", Owner: "Ann Müller", At: noon},
	account.AccountDeposited{Account: "acc-0000417", Amount: 1999, Currency: "EUR", Reference: "INV-2026-000417", Channel: "transfer"},
	statement(),
}

func statement() account.AccountStated {
	s := account.AccountStated{Account: "acc-0000417", From: noon, To: noon.AddDate(0, 1, 0), Opening: 100_000, Closing: -12_345, Rate: 0.0425, Final: true}
	for i := range 20 {
		s.Amounts = append(s.Amounts, int64(i*i*i*977))
		s.Texts = append(s.Texts, fmt.Sprintf("INV-2026-%06d paid by transfer", i*417))
	}
	return s
}

// BenchmarkCodecs encodes and decodes payloads: round after round over all
// codecs, so that a busy machine is busy for each.
func BenchmarkCodecs(b *testing.B) {
	const n, rounds = 2_000, 25
	for _, payload := range payloads {
		data, err := json.Marshal(payload)
		require.NoError(b, err)
		encode, decode := make([][]float64, len(codecs)), make([][]float64, len(codecs))
		for range rounds {
			for i, c := range codecs {
				encode[i] = append(encode[i], perOp(b, n, func() error {
					_, err := c.encode(payload)
					return err
				}))
				decode[i] = append(decode[i], perOp(b, n, func() error { return c.decode(data, fresh(payload)) }))
			}
		}
		for i, c := range codecs {
			b.Run(fmt.Sprintf("payload=%T/bytes=%d/codec=%s", payload, len(data), c.name), func(b *testing.B) {
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(encode[i]), "ns/encode")
				b.ReportMetric(median(decode[i]), "ns/decode")
				b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = c.encode(payload) }), "allocs/encode")
				b.ReportMetric(testing.AllocsPerRun(100, func() { _ = c.decode(data, fresh(payload)) }), "allocs/decode")
			})
		}
	}
}

// fresh returns a pointer to a new payload of the same type.
func fresh(payload any) any {
	switch payload.(type) {
	case bank.AccountOpened:
		return new(bank.AccountOpened)
	case account.AccountDeposited:
		return new(account.AccountDeposited)
	}
	return new(account.AccountStated)
}

func perOp(b *testing.B, n int, op func() error) float64 {
	began := time.Now()
	for range n {
		if err := op(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(time.Since(began).Nanoseconds()) / float64(n)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// All codecs read what encoding/json wrote, as it does.
func TestCodecsAgree(t *testing.T) {
	t.Parallel()
	for _, payload := range payloads {
		data, err := json.Marshal(payload)
		require.NoError(t, err)
		for _, c := range codecs {
			got, err := c.encode(payload)
			require.NoError(t, err)
			require.Equal(t, string(data), string(got), c.name)
			v := fresh(payload)
			require.NoError(t, c.decode(data, v))
			require.Equal(t, payload, reflect.ValueOf(v).Elem().Interface(), c.name)
		}
	}
}
