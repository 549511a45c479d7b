package bolt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
)

// copyFile copies a file as a crash of this moment would leave it, and returns
// the copy's path. No commit may be under way.
func copyFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(copied, bytes.TrimRight(content, "\x00"), 0o600))
	require.NoError(t, os.Truncate(copied, int64(len(content))))
	return copied
}

func TestBitFlips(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		h := makeHistory(t, clean)
		const parts = 4 // which run side by side
		for part := range parts {
			t.Run(fmt.Sprintf("clean=%t/part=%d", clean, part), func(t *testing.T) {
				t.Parallel()
				h.flipBits(t, testenv.Count(150, 20_000)/parts)
			})
		}
	}
}

// flipBits checks the file with one bit flipped, n times.
func (h *history) flipBits(t *testing.T, n int) {
	random := testenv.Rand(t)
	used := len(bytes.TrimRight(h.content, "\x00"))
	path := filepath.Join(t.TempDir(), "damaged.db")
	verdicts := map[string]int{}
	for range n {
		at := random.IntN(used)
		switch random.IntN(4) {
		case 0, 1:
			at = at/4096*4096 + random.IntN(256) // where pages keep their structure
		case 2:
			at = rootPage(h.content) + random.IntN(2048) // which holds small buckets whole
		}
		verdicts[h.checkFlipped(t, path, at, random.IntN(8))]++
	}
	t.Logf("%v", verdicts)
}

// checkFlipped is check for a file with one bit flipped.
func (h *history) checkFlipped(t *testing.T, path string, at, bit int) string {
	t.Helper()
	damaged := bytes.Clone(h.content)
	damaged[at] ^= 1 << bit
	require.NoError(t, os.WriteFile(path, damaged, 0o600))
	defer func() {
		if t.Failed() {
			t.Logf("bit %d of byte %d (page %d + %d)", bit, at, at/4096, at%4096)
		}
	}()
	return h.check(t, path)
}

// rootPage is where the page begins that holds bbolt's buckets, as the newer
// of the two meta pages says.
func rootPage(content []byte) int {
	order := binary.NativeEndian
	newer := content[16:]
	if second := content[4096+16:]; order.Uint64(second[48:]) > order.Uint64(newer[48:]) {
		newer = second
	}
	return int(order.Uint64(newer[16:])) * 4096
}

// A small bucket lies within the root's page, and bbolt copies it to the heap:
// an offset that leads out of the copy is refused before bbolt follows it, and
// so is an element with a flag, which bbolt would not find.
func TestSmallBucketIsDamaged(t *testing.T) {
	t.Parallel()
	h := makeHistory(t, true)
	path := filepath.Join(t.TempDir(), "damaged.db")
	order, root := binary.NativeEndian, rootPage(h.content)
	refused := 0
	for i := range int(order.Uint16(h.content[root+10:])) { // the buckets
		element := root + 16 + 16*i
		value := element + int(order.Uint32(h.content[element+4:])) + int(order.Uint32(h.content[element+8:]))
		if order.Uint64(h.content[value:]) != 0 {
			continue // it has pages of its own
		}
		inside := value + 16
		for k := range int(order.Uint16(h.content[inside+10:])) {
			offset := inside + 16 + 16*k + 4
			require.Equal(t, "refused", h.checkFlipped(t, path, offset-4, 0), "flags of element %d", k)
			for _, at := range []int{offset + 1, offset + 2, offset + 3, offset + 6, offset + 10} {
				require.Equal(t, "refused", h.checkFlipped(t, path, at, 4), "byte %d", at)
				refused++
			}
		}
	}
	require.NotZero(t, refused, "no bucket is that small")
}

// A damaged key in an inner page sends a search to the wrong leaf. A stream
// that is not found there is no new one.
func TestInnerPageHidesNoStream(t *testing.T) {
	t.Parallel()
	random := testenv.Rand(t)
	path := newPath(t)
	j := open(t, path, nil)
	const streams = 400
	for i := range streams {
		commit(t, j, batch(events(todo(fmt.Sprint(i)), 0, 1)))
	}
	require.NoError(t, j.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	damages, hidden := 0, 0
	order := binary.NativeEndian
	for page := 2 * 4096; page < len(content); page += 4096 {
		count := int(order.Uint16(content[page+10:]))
		if order.Uint16(content[page+8:]) != 1 || count == 0 {
			continue // no inner page
		}
		for range testenv.Count(6, 200) {
			element := page + 16 + 16*random.IntN(count)
			key := element + int(order.Uint32(content[element:]))
			damaged := bytes.Clone(content)
			damaged[key+random.IntN(int(order.Uint32(content[element+4:])))] ^= 1 << random.IntN(8)
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			damages++
			j, err := bolt.Open(path, nil)
			if err != nil {
				require.ErrorIs(t, err, journal.ErrCorrupt)
				continue
			}
			for i := range streams {
				latest, err := j.LoadLatest(t.Context(), todo(fmt.Sprint(i)))
				if err != nil {
					require.ErrorIs(t, err, journal.ErrCorrupt)
					hidden++
					continue
				}
				require.EqualValues(t, 1, latest.Version)
			}
			require.NoError(t, j.Close())
		}
	}
	require.NotZero(t, damages)
	t.Logf("%d streams hidden by %d damages", hidden, damages)
}

// grown is a closed file with inner pages, pages that go on, and free ones.
func grown(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = newPath(t)
	j := open(t, path, nil)
	for i := range 400 {
		b := batch(events(todo(fmt.Sprint(i)), 0, 1))
		b.Appends[0].Records[0].Data = make([]byte, i%7*1_500)
		commit(t, j, b)
	}
	require.NoError(t, j.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return path, content
}

// bbolt descends without an end when an inner page leads back to itself or to
// one above it, and that ends the process.
func TestInnerPageLeadsBack(t *testing.T) {
	t.Parallel()
	path, content := grown(t)
	order := binary.NativeEndian
	var inner []int
	for page := 2 * 4096; page < len(content); page += 4096 {
		if order.Uint16(content[page+8:]) == 1 && order.Uint16(content[page+10:]) > 0 && order.Uint64(content[page:]) == uint64(page/4096) {
			inner = append(inner, page)
		}
	}
	refused := 0
	for _, page := range inner {
		for i := range int(order.Uint16(content[page+10:])) {
			for _, target := range inner {
				damaged := bytes.Clone(content)
				order.PutUint64(damaged[page+16+16*i+8:], uint64(target/4096))
				require.NoError(t, os.WriteFile(path, damaged, 0o600))
				j, err := bolt.Open(path, nil)
				if err != nil {
					require.ErrorIs(t, err, journal.ErrCorrupt)
					refused++
					continue
				}
				require.NoError(t, j.Close()) // the page is an old one
			}
		}
	}
	require.NotZero(t, refused)
}

// The next commit overwrites what the list of free pages names.
func TestPageInUseIsListedAsFree(t *testing.T) {
	t.Parallel()
	path, content := grown(t)
	order := binary.NativeEndian
	newer := content[16:]
	if second := content[4096+16:]; order.Uint64(second[48:]) > order.Uint64(newer[48:]) {
		newer = second
	}
	list, pages := int(order.Uint64(newer[32:]))*4096, order.Uint64(newer[40:])
	free := map[uint64]bool{}
	count := int(order.Uint16(content[list+10:]))
	require.NotZero(t, count)
	for i := range count {
		free[order.Uint64(content[list+16+8*i:])] = true
	}
	for id := range pages {
		if free[id] {
			continue
		}
		damaged := bytes.Clone(content)
		order.PutUint64(damaged[list+16+8*(int(id)%count):], id)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		_, err := bolt.Open(path, nil)
		require.ErrorIs(t, err, journal.ErrCorrupt, "page %d of %d", id, pages)
	}
}

func TestTruncatedFile(t *testing.T) {
	t.Parallel()
	random := testenv.Rand(t)
	h := makeHistory(t, true)
	used := len(bytes.TrimRight(h.content, "\x00"))
	path := filepath.Join(t.TempDir(), "short.db")
	lengths := []int{100, 4095, 4096, 4097, 8191, 8192, 16384, used - 1, used - 4096}
	for range testenv.Count(50, 1_000) {
		lengths = append(lengths, 16+random.IntN(used-16)) // the first bytes are zero, as in a file that is new
	}
	for _, length := range lengths {
		require.NoError(t, os.WriteFile(path, h.content[:length], 0o600))
		_, err := bolt.Open(path, nil)
		require.ErrorIs(t, err, journal.ErrCorrupt, "%d of %d bytes", length, used)
	}
}

func TestTornTail(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		h := makeHistory(t, clean)
		used := (len(bytes.TrimRight(h.content, "\x00")) + 4095) / 4096 * 4096
		path := filepath.Join(t.TempDir(), "torn.db")
		for pages := 1; pages*4096 < used; pages += 1 + pages/3 {
			torn := bytes.Clone(h.content)
			clear(torn[used-pages*4096 : used])
			require.NoError(t, os.WriteFile(path, torn, 0o600))
			h.check(t, path)
		}
		for _, slot := range []int{0, 1} { // a header page that never made it
			torn := bytes.Clone(h.content)
			clear(torn[slot*4096 : (slot+1)*4096])
			require.NoError(t, os.WriteFile(path, torn, 0o600))
			require.NotEqual(t, "refused", h.check(t, path))
		}
	}
}

func TestNotAJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("not a journal\n"), 5_000), 0o600))
	_, err := bolt.Open(path, nil)
	require.ErrorIs(t, err, journal.ErrCorrupt)
	_, err = bolt.Open(filepath.Join(dir, "missing", "journal.db"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = bolt.Open(dir, nil)
	require.Error(t, err)
}

func TestNewFileThatACrashLeftUnfinished(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for _, size := range []int64{0, 1, 4096, 16384} {
		require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
		j := open(t, path, nil)
		commit(t, j, batch(events(todo("1"), 0, 1)))
		require.NoError(t, j.Close())
		j = open(t, path, nil)
		require.Len(t, load(t, j, todo("1"), 0), 1)
		require.NoError(t, j.Close())
	}
}

func TestFileShrinksUnderneath(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	s := todo("1")
	for i := range uint64(200) {
		commit(t, j, batch(events(s, 10*i, 10)))
	}
	require.NoError(t, os.Truncate(path, 3*4096))
	_, err := loadAll(t, j, s, 0)
	require.ErrorIs(t, err, journal.ErrCorrupt, "pages that are gone are no crash")
	for range 3 {
		_, err = journal.Commit(t.Context(), j, batch(events(s, 2_000, 1)))
		require.Error(t, err)
		require.True(t, errors.Is(err, journal.ErrCorrupt) || errors.Is(err, journal.ErrUnavailable), err)
	}
}

func TestOptionsNameFieldAndValue(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]bolt.Options{
		"QueueEvents is -1":       {QueueEvents: -1},
		"QueueBytes is -1":        {QueueBytes: -1},
		"MaxGroupEvents is -3":    {MaxGroupEvents: -3},
		"MaxGroupBytes is -1":     {MaxGroupBytes: -1},
		"MaxHeads is -1":          {MaxHeads: -1},
		"CheckpointEvents is 1":   {CheckpointEvents: 1},
		"ReceiptWindow is 1":      {ReceiptWindow: 1},
		"ReceiptRetention is -1s": {ReceiptRetention: -1e9},
		"LockTimeout is -1s":      {LockTimeout: -1e9},
		"MapBytes is -1":          {MapBytes: -1},
		"FileMode is 0444":        {FileMode: 0o444},
	} {
		_, err := bolt.Open(newPath(t), &opts)
		require.ErrorContains(t, err, want)
	}
}

// TestLeafLiesAboutItsLengths: an element with a damaged length, or a page that is
// said to go on in pages of others, is found before bbolt copies so much memory, or
// gives those pages up. Each leaf is damaged and then changed by commits.
func TestLeafLiesAboutItsLengths(t *testing.T) {
	path, content := grown(t)
	order := binary.NativeEndian
	damages, refused := 0, 0
	try := func(what string, at int, value uint32) {
		damaged := bytes.Clone(content)
		order.PutUint32(damaged[at:], value)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		damages++
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		j, err := bolt.Open(path, &bolt.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			b := batch(events(todo("new"), 0, 1)) // behind the log's end; ids of messages lie anywhere
			for i := range 20 {
				b.Messages = append(b.Messages, message(fmt.Sprint("damage-", i)))
			}
			_, err = journal.Commit(t.Context(), j, b)
			_ = j.Close() // it is damaged
		}
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<20), "%s at %d", what, at)
		if err != nil {
			require.ErrorIs(t, err, journal.ErrCorrupt, "%s at %d", what, at)
			refused++
		}
	}
	var leaves []int
	for page := 2 * 4096; page < len(content); page += 4096 {
		if order.Uint16(content[page+8:]) == 2 && order.Uint16(content[page+10:]) > 0 && order.Uint64(content[page:]) == uint64(page/4096) {
			leaves = append(leaves, page)
		}
	}
	slices.Reverse(leaves) // the end of the log, which is changed, is among the last
	for _, page := range leaves[:min(len(leaves), testenv.Count(40, 1000))] {
		last := page + 16 + 16*(int(order.Uint16(content[page+10:]))-1)
		try("length of a key", last+8, 1<<29)
		try("length of a value", last+12, 1<<30)
		try("pages", page+12, order.Uint32(content[page+12:])+1)
	}
	t.Logf("%d of %d found", refused, damages)
	require.NotZero(t, refused)
}

// TestMessageShowsAnother: an element of the outbox whose place in its page is
// damaged shows a later message in its stead, whose checksum passes. It is not
// published there, whether the damage is found at open or under way.
func TestMessageShowsAnother(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	j := open(t, path, nil)
	for i := range 100 {
		b := batch()
		b.Messages = []envelope.Message{message(fmt.Sprint(i))}
		commit(t, j, b)
	}
	require.NoError(t, j.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	order := binary.NativeEndian
	tried := 0
	for page := 2 * 4096; page < len(content); page += 4096 {
		count := int(order.Uint16(content[page+10:]))
		first := page + 16
		if order.Uint16(content[page+8:]) != 2 || count < 12 || order.Uint32(content[first+8:]) != 8 || order.Uint32(content[first+12:]) < 100 {
			continue // no leaf with positions and messages
		}
		key := func(i int) uint64 {
			e := first + 16*i
			return binary.BigEndian.Uint64(content[e+int(order.Uint32(content[e+4:])):])
		}
		// Element 2 shows what element 9 does.
		two, nine := first+16*2, first+16*9
		damaged := bytes.Clone(content)
		order.PutUint32(damaged[two+4:], order.Uint32(content[nine+4:])+uint32(nine-two))
		copy(damaged[two+8:two+16], content[nine+8:nine+16])
		tried++

		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		j, err := bolt.Open(path, &bolt.Options{Logger: slog.New(slog.DiscardHandler)})
		if err == nil { // the page is an old one
			require.NoError(t, j.Close())
			continue
		}
		require.ErrorIs(t, err, journal.ErrCorrupt)

		require.NoError(t, os.WriteFile(path, content, 0o600))
		j = open(t, path, nil)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(damaged[page:page+4096], int64(page))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		var positions []uint64
		for m, failed := range j.Messages(t.Context(), 0, 0) {
			if err = failed; err == nil {
				positions = append(positions, m.Position)
			}
		}
		require.ErrorIs(t, err, journal.ErrCorrupt)
		require.Equal(t, key(1), positions[len(positions)-1], "the last one before the damage")
		_ = j.Close() // it is damaged
		return
	}
	require.Fail(t, "no page of the outbox", "%d tried", tried)
}
