package layers

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDependenciesAreExplained: docs/dependencies.md names each module that go.mod
// requires directly, in its version, and no other.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	read := func(name, pattern string) map[string]string {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		versions := map[string]string{}
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			versions[found[1]] = found[2]
		}
		require.NotEmpty(t, versions, name)
		return versions
	}
	required := read("go.mod", `(?m)^\t(\S+) (v\S+)$`) // what is indirect says so behind
	require.Equal(t, required, read("docs/dependencies.md", "(?m)^\\| `([^`]+)` \\| (v\\S+) \\|"))
}
