package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/troupe-go/troupe"
	root   = "../.."
)

// rule says what a package may import beside the standard library. Packages of
// this module are named without the module path; a pattern ends in /... or
// names one package. The first rule that matches a package counts.
type rule struct {
	pkg     string
	imports []string
	why     string
}

var rules = []rule{
	{"envelope", nil, "the lowest layer: the standard library only"},
	{"envelope/plainjson", nil, "generated domain code imports it: the standard library only"},
	{"snapshot", []string{"envelope"}, "a contract: the standard library and envelope only"},
	{"lock", []string{"envelope"}, "a contract: no adapter, no driver"},
	{"lock/locktest", []string{"lock", "github.com/stretchr/testify/..."}, "a suite knows no adapter"},
	{"journal", []string{"envelope", "snapshot"}, "a contract: no adapter, no driver"},
	{"journal/journaltest", []string{"journal", "envelope", "snapshot", "internal/...", "github.com/stretchr/testify/...", "pgregory.net/rapid"}, "a suite knows no adapter"},
	{"journal/memory", []string{"journal", "envelope", "snapshot", "internal/duetimes", "internal/slotlease"}, "an adapter knows its contract, and no sibling"},
	{"journal/bolt", []string{"journal", "envelope", "snapshot", "internal/commitqueue", "internal/duetimes", "internal/slotlease", "go.etcd.io/bbolt", "go.etcd.io/bbolt/...", "github.com/hashicorp/golang-lru/v2/...", "golang.org/x/sys/..."}, "an adapter knows its contract and its driver, and no sibling"},
	{"journal/sqlite", []string{"journal", "internal/outboxsql", "envelope", "snapshot", "lock", "migrations", "internal/commitqueue", "modernc.org/sqlite", "github.com/pressly/goose/v3", "github.com/pressly/goose/v3/database"}, "an adapter knows its contract and its driver, and no sibling"},
	{"journal/postgres", []string{"journal", "internal/outboxsql", "envelope", "snapshot", "lock", "migrations", "internal/commitqueue", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/...", "github.com/pressly/goose/v3", "github.com/pressly/goose/v3/database"}, "an adapter knows its contract and its driver, and no sibling"},
	{"bus", []string{"envelope", "journal"}, "a contract and its runner: no transport, no client library"},
	{"outbox", []string{"bus", "journal", "envelope"}, "it publishes from any journal to any bus"},
	{"bus/bustest", []string{"bus", "envelope", "github.com/stretchr/testify/..."}, "a suite knows no transport"},
	{"bus/internal/base", []string{"bus", "envelope"}, "for transports, and of none"},
	{"bus/membus", []string{"bus", "envelope"}, "a transport knows its contract, and no sibling"},
	{"bus/kafkabus", []string{"bus", "bus/internal/base", "envelope", "github.com/twmb/franz-go/pkg/kadm", "github.com/twmb/franz-go/pkg/kerr", "github.com/twmb/franz-go/pkg/kgo", "github.com/twmb/franz-go/pkg/kmsg"}, "a transport knows its contract and its driver, and no sibling"},
	{"bus/natsbus", []string{"bus", "bus/internal/base", "envelope", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"}, "a transport knows its contract and its driver, and no sibling"},
	{"bus/pgbus", []string{"bus", "envelope", "migrations", "internal/pgschema", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/..."}, "a transport knows its contract and its driver, and no sibling"},
	{"bus/rabbitbus", []string{"bus", "bus/internal/base", "envelope", "github.com/rabbitmq/amqp091-go"}, "a transport knows its contract and its driver, and no sibling"},
	{"bus/knativebus", []string{"bus", "envelope", "go.yaml.in/yaml/v3"}, "a transport knows its contract, and no sibling; HTTP is in the standard library"},
	{"migrations", nil, "files, and the standard library to embed them"},
	{"aggregate", []string{"bus", "journal", "envelope", "snapshot"}, "domain code must compile without third-party code"},
	{"aggregate/aggregatetest", []string{"aggregate", "bus", "journal", "envelope", "snapshot", "internal/...", "github.com/stretchr/testify/..."}, "a suite of domain code needs no actors"},
	{"actor", []string{"aggregate", "bus", "journal", "lock", "envelope", "snapshot", "internal/statediff", "github.com/asynkron/protoactor-go/actor"}, "the only door to protoactor, over any journal"},
	{"microsvc", []string{"aggregate", "bus", "outbox", "journal", "lock", "envelope"}, "handlers know no transport, and no host: aggregate.Asker is enough"},
	{"microsvc/microsvctest", []string{"microsvc", "actor", "aggregate", "bus", "outbox", "journal", "journal/memory", "lock", "envelope", "internal/testenv/buskit", "github.com/stretchr/testify/..."}, "a suite knows no face, and no transport"},
	{"microsvc/grpcapi", []string{"microsvc", "aggregate", "bus", "envelope", "microsvc/grpcapi/commandpb", "google.golang.org/grpc", "google.golang.org/grpc/...", "google.golang.org/genproto/googleapis/rpc/errdetails"}, "a face of a service knows it, and no sibling"},
	{"microsvc/grpcapi/commandpb", []string{"google.golang.org/grpc", "google.golang.org/grpc/...", "google.golang.org/protobuf/..."}, "messages know no framework"},
	{"microsvc/httpapi", []string{"microsvc", "aggregate", "bus", "envelope"}, "a face of a service knows it, and no sibling; HTTP is in the standard library"},
	{"microsvc/ceingress", []string{"microsvc", "aggregate", "bus", "bus/knativebus", "envelope"}, "a face of a service knows it, and the names that its peer bus/knativebus gives"},
	{"cmd/sourced", []string{"envelope"}, "the generator reads syntax only: it must run while nothing compiles"},
	{"cmd/sourced/...", []string{"envelope"}, "the generator reads syntax only: it must run while nothing compiles"},
	{"internal/pgschema", []string{"github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/...", "github.com/pressly/goose/v3", "github.com/pressly/goose/v3/database"}, "for what keeps its state in PostgreSQL"},
	{"internal/torture", []string{"*"}, "the top: it tests the whole"},
	{"internal/outboxsql", []string{"journal"}, "for journals in SQL"},
	{"internal/duetimes", []string{"journal", "github.com/tidwall/btree"}, "for journals that one process has to itself"},
	{"internal/slotlease", []string{"journal"}, "for journals that one process has to itself"},
	{"internal/testenv/buskit", []string{"bus", "envelope", "github.com/stretchr/testify/..."}, "for tests of transports, of which it knows none"},
	{"internal/...", []string{"envelope", "github.com/stretchr/testify/...", "golang.org/x/sys/..."}, "internals serve every layer, so they import none"},
	{"examples/...", []string{"*"}, "the top: examples may use everything"},
	{"bench", []string{"*"}, "the top: benchmarks may use everything"},
	{"bench/internal/...", []string{"aggregate", "envelope", "envelope/plainjson"}, "domain code, generated like a user's"},
}

// TestImportsPointDown reads the import lines of the sources: go test notes
// which files a test opens and runs it again when one of them changes.
func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	walk(t, func(file, pkg string, imports []string) {
		r, ok := ruleFor(pkg)
		if !ok {
			t.Errorf("package %s has no rule: give it one in this table", pkg)
			return
		}
		seen[r.pkg] = true
		for _, imp := range imports {
			if !r.allows(pkg, imp) {
				t.Errorf("%s imports %s: %s", file, imp, r.why)
			}
		}
	})
	for _, r := range rules {
		require.True(t, seen[r.pkg] || strings.HasSuffix(r.pkg, "/..."), "rule %q matches no package: delete it", r.pkg)
	}
}

// TestSuitesDoNotShip: no shipping code imports a …test package.
func TestSuitesDoNotShip(t *testing.T) {
	t.Parallel()
	walk(t, func(file, pkg string, imports []string) {
		if strings.HasSuffix(pkg, "test") || strings.HasPrefix(pkg, "internal/testenv") {
			return
		}
		for _, imp := range imports {
			base := path.Base(imp)
			if strings.HasPrefix(imp, module) && (strings.HasSuffix(base, "test") || strings.Contains(imp, "/testenv")) ||
				strings.HasPrefix(imp, "github.com/stretchr/testify") {
				t.Errorf("%s imports %s: test code does not ship", file, imp)
			}
		}
	})
}

func TestEveryPackageHasADocFile(t *testing.T) {
	t.Parallel()
	pkgs := map[string]bool{}
	walk(t, func(_, pkg string, _ []string) { pkgs[pkg] = true })
	for pkg := range pkgs {
		if strings.HasPrefix(pkg, "examples/") || strings.Contains(pkg, "/internal/") {
			continue
		}
		_, err := os.Stat(filepath.Join(root, pkg, "doc.go"))
		require.NoError(t, err, "package %s", pkg)
	}
}

func walk(t *testing.T, visit func(file, pkg string, imports []string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == "." {
				return nil
			}
			_, err := os.Stat(filepath.Join(root, name, "go.mod")) // a module of its own
			if base := path.Base(name); strings.HasPrefix(base, ".") || base == "testdata" || err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if strings.Contains(strings.Split(imp, "/")[0], ".") { // not the standard library
				imports = append(imports, imp)
			}
		}
		visit(name, path.Dir(name), imports)
		return nil
	})
	require.NoError(t, err)
}

func ruleFor(pkg string) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return match(r.pkg, pkg) })
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

func (r rule) allows(pkg, imp string) bool {
	imp = strings.TrimPrefix(imp, module+"/")
	if strings.HasPrefix(imp, pkg+"/internal/") {
		return true
	}
	return slices.ContainsFunc(r.imports, func(pattern string) bool { return pattern == "*" || match(pattern, imp) })
}

func match(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pattern == pkg
}
