//go:build unix

package testenv_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
)

func TestPostgresComesBackAfterAKill(t *testing.T) {
	t.Parallel()
	p := testenv.StartPostgres(t)
	p.Run("psql", "-qc", "create table t (n int); insert into t values (42)")
	p.Kill()
	_, err := net.DialTimeout("tcp", p.Addr(), time.Second)
	require.Error(t, err)
	p.Start()
	require.Equal(t, "42\n", p.Run("psql", "-Atc", "select n from t"))
	p.Stop()
	p.Start()
	p.Freeze()
	p.Thaw()
	require.Equal(t, "42\n", p.Run("psql", "-Atc", "select n from t"))
}
