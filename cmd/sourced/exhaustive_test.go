package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The generated interface of events is a closed sum to go-check-sumtype, which
// is part of the project's linters: a switch that misses an event is an error.
func TestSwitchThatMissesAnEventFails(t *testing.T) {
	t.Parallel()
	checker := filepath.Join(t.TempDir(), "go-check-sumtype")
	build := exec.Command("go", "build", "-o", checker, "github.com/alecthomas/go-check-sumtype/cmd/go-check-sumtype")
	build.Dir = "../../tools" // where linters are pinned
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	const strict = "-default-signifies-exhaustive=false"
	out, err = exec.Command(checker, strict, "./testdata/inexhaustive").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), `report.go:10:2: exhaustiveness check failed for sum type "BoxEvent"`)
	require.Contains(t, string(out), "missing cases for BoxWeighed")

	out, err = exec.Command(checker, strict, "./testdata/written/...", "../../examples/...").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
