package testenv

import (
	"os"
	"testing"
)

// PostgresVariable names the URL of a running server for the tests.
const PostgresVariable = "TROUPE_POSTGRES_URL"

// PostgresURL is that of the server that the tests share. Without one the test
// is skipped.
func PostgresURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv(PostgresVariable)
	if url == "" {
		t.Skipf("set %s to run this test: eval \"$(scripts/services.sh up)\"", PostgresVariable)
	}
	return url
}
