package testenv

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// Count is how often a test repeats something: full times when TROUPE_SOAK is
// set to 1, as make soak does, and reduced times otherwise.
func Count(reduced, full int) int {
	if os.Getenv("TROUPE_SOAK") == "1" {
		return full
	}
	return reduced
}

// Rand returns a source of random numbers and logs its seed. TROUPE_SEED sets
// it, to run a failure again.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TROUPE_SEED"); text != "" {
		seed = 0
		for _, digit := range text {
			seed = seed*10 + uint64(digit-'0')
		}
	}
	t.Logf("TROUPE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}
