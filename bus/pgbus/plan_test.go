package pgbus

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
)

// TestPagesAreNotSorted: a page of the log costs what is in it, however much
// comes behind, also by a plan that is made once for all parameters.
func TestPagesAreNotSorted(t *testing.T) {
	t.Parallel()
	url, schema := testenv.PostgresURL(t), "bus_"+rand.Text()
	opts := Options{Group: "g", Schema: schema, Logger: slog.New(slog.DiscardHandler)}
	require.NoError(t, Migrate(t.Context(), url, opts))
	config, err := poolConfig(url, opts)
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["statement_timeout"] = "0"
	conn, err := pgx.ConnectConfig(t.Context(), config.ConnConfig)
	require.NoError(t, err)
	name := pgx.Identifier{schema}.Sanitize()
	t.Cleanup(func() {
		_, err := conn.Exec(context.Background(), "DROP SCHEMA "+name+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, conn.Close(context.Background()))
	})
	_, err = conn.Exec(t.Context(), "INSERT INTO "+name+`.bus_log (namespace, name, message, destination, key, content_type, codec, data, source_type, source_id, source_version)
		SELECT 'n' || i % 3, 'thing.happened', i, '', '', '', 'json', repeat('x', 100)::bytea, '', '', 0 FROM generate_series(1, 20000) AS i`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan")
	require.NoError(t, err)
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			_, err = conn.Exec(t.Context(), "ANALYZE "+name+".bus_log")
			require.NoError(t, err)
		}
		_, err = conn.Exec(t.Context(), "DEALLOCATE ALL")
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), "PREPARE page (text, bigint, text[], bigint) AS "+makeStatements(schema).readLog)
		require.NoError(t, err)
		rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE page ('n1', 30, '{thing.happened}', 256)", pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.NotContains(t, strings.Join(plan, "\n"), "Sort", "analyzed %v", analyzed)
	}
}
