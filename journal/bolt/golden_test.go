package bolt_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/snapshot"
)

var writeGolden = flag.Bool("write-golden", false, "write testdata/format1.db.gz; only ever for a format that is not released")

const golden = "testdata/format1.db.gz"

// TestReadsFormat1 reads a file that an older program wrote: whatever is
// released must stay readable for ever. It has heads and runs in buckets, and
// entries behind the last checkpoint.
func TestReadsFormat1(t *testing.T) {
	t.Parallel()
	if *writeGolden {
		goldenFile(t)
	}
	packed, err := os.Open(golden)
	require.NoError(t, err)
	defer packed.Close()
	unpack, err := gzip.NewReader(packed)
	require.NoError(t, err)
	content, err := io.ReadAll(unpack)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "format1.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))

	j := open(t, path, nil)
	all, err := readAll(t, j)
	require.NoError(t, err)
	require.Len(t, all, 150+20)
	require.Equal(t, journal.Position{Seq: 171}, all[len(all)-1].Position, "the note took a position")
	for n := range 5 {
		for _, rec := range load(t, j, todo(fmt.Sprint(n)), 0) {
			require.Equal(t, when, rec.Time)
			require.Equal(t, goldenMetadata, rec.Metadata)
		}
	}
	require.Len(t, load(t, j, todo("0"), 0), 100)
	require.Len(t, load(t, j, todo("4"), 0), 16)
	latest, err := j.LoadLatest(t.Context(), todo("0"))
	require.NoError(t, err)
	require.Equal(t, uint64(60), latest.Snapshot.Version)
	require.Equal(t, "state", string(latest.Snapshot.Data))
	for _, id := range []string{"early", "note", "late"} {
		requireReceipt(t, j, todo("1"), id)
	}
	commit(t, j, batch(events(todo("0"), 100, 1)))
}

var goldenMetadata = envelope.Metadata{CorrelationID: "c", CommandID: "d", Keys: map[string]string{"tenant": "acme"}}

func goldenFile(t *testing.T) {
	path := newPath(t)
	j := open(t, path, &bolt.Options{CheckpointEvents: 40, ReceiptWindow: 4})
	write := func(b *journal.Batch) {
		for i := range b.Appends {
			for k := range b.Appends[i].Records {
				b.Appends[i].Records[k].Metadata = goldenMetadata
			}
		}
		commit(t, j, b)
	}
	write(receipt(batch(events(todo("1"), 0, 2)), todo("1"), "early"))
	write(receipt(batch(), todo("1"), "note"))
	for i := range uint64(4) {
		b := batch(events(todo("0"), 20*i, 20), events(todo("2"), 4*i, 4), events(todo("3"), 4*i, 4), events(todo("4"), 4*i, 4))
		if i == 2 {
			b.Snapshots = []snapshot.Snapshot{{Stream: todo("0"), Version: 60, Schema: 1, Codec: "json", Data: []byte("state"), Time: when}}
		}
		write(b)
	}
	for i := range uint64(10) {
		write(batch(events(todo("1"), 2+2*i, 2)))
	}
	write(receipt(batch(events(todo("0"), 80, 20)), todo("1"), "late"))
	content, err := os.ReadFile(copyFile(t, path)) // not closed: something is left to replay
	require.NoError(t, err)
	used := (len(bytes.TrimRight(content, "\x00")) + 4095) / 4096 * 4096
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(append(content[:used:used], make([]byte, 8*4096)...)) // pages in use may be blank at the end
	require.NoError(t, errors.Join(err, w.Close()))
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	require.NoError(t, os.WriteFile(golden, packed.Bytes(), 0o644))
}
