package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/troupe-go/troupe/journal"
)

// file is the open database and what is needed to come back from an error.
type file struct {
	db     *bbolt.DB
	handle *os.File // bbolt's own, which holds the lock
	stuck  bool     // a panic left bbolt's locks held: it cannot be closed
	guard  *leafGuard

	// committed is the number of the last transaction known to be durable.
	committed uint64
}

// openFile opens or creates the database at path, with the buckets of the
// format in it. Damage that bbolt would not survive is found first.
func openFile(path string, opts *Options) (f *file, err error) {
	if err := inspect(path, opts); err != nil {
		return nil, err
	}
	f = &file{}
	defer func() {
		if err != nil && f != nil {
			_ = f.close() // err says more
			f = nil
		}
	}()
	defer recoverCorrupt(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f.stuck = true // until Open returns
	f.db, err = bbolt.Open(path, opts.FileMode, &bbolt.Options{
		Timeout:         opts.LockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: int(opts.MapBytes),
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			handle, err := os.OpenFile(name, flag, mode)
			f.handle = handle
			return handle, err
		},
	})
	f.stuck = false
	if err == nil {
		f.db.AllocSize = growBytes(0)
		err = f.db.View(func(tx *bbolt.Tx) error {
			f.guard = newLeafGuard(f.handle, int64(f.db.Info().PageSize), tx.Size())
			return nil
		})
	}
	if errors.Is(err, syscall.ENOMEM) && opts.MapBytes > 0 {
		// Address space is limited here (ulimit -v): map what there is.
		opts.MapBytes = 0
		return openFile(path, opts)
	}
	if err != nil {
		return f, openError(path, err)
	}
	if err := f.prepare(path); err != nil {
		return f, err
	}
	return f, f.db.View(func(tx *bbolt.Tx) error {
		f.committed = uint64(tx.ID())
		return nil
	})
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return lockedError(path)
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum),
		errors.Is(err, bbolterrors.ErrVersionMismatch), errors.Is(err, bbolterrors.ErrInvalidMapping):
		return fmt.Errorf("bolt: open %s: %w: %w", path, journal.ErrCorrupt, err)
	}
	return fmt.Errorf("bolt: open %s: %w", path, err)
}

func lockedError(path string) error {
	return fmt.Errorf("bolt: open %s: one journal file serves one process, and another one has it open: %w", path, journal.ErrLocked)
}

// prepare creates the buckets in a new file, and checks that an old one is a
// journal of a format that this program knows.
func (f *file) prepare(path string) error {
	empty, found := true, false
	var stored []byte
	err := f.db.View(func(tx *bbolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			stored, found = bytes.Clone(meta.Get(keyFormat)), true
		}
		first, _ := tx.Cursor().First()
		empty = first == nil
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("bolt: open %s: %w", path, err)
	case found && len(stored) == 4:
		switch number := binary.BigEndian.Uint32(stored); {
		case number == fileFormat:
			return nil
		case fileFormatOldest <= number && number < fileFormat:
			return f.upgrade(path)
		default:
			return fmt.Errorf("bolt: open %s: the file has format %d, this program knows format %d", path, number, fileFormat)
		}
	case !empty:
		return fmt.Errorf("bolt: open %s: the file is a bbolt database but not a journal: %w", path, journal.ErrCorrupt)
	}
	err = f.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range allBuckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if err := meta.Put(keyFormat, binary.BigEndian.AppendUint32(nil, fileFormat)); err != nil {
			return err
		}
		return meta.Put(keyState, (&state{}).append(nil))
	})
	if err == nil {
		// The new file's name is not durable before its directory is.
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("bolt: create %s: %w", path, err)
	}
	return nil
}

// upgrade makes the buckets that a file of an older format lacks, and so keeps older
// programs from it. Everything else stays as it is.
func (f *file) upgrade(path string) error {
	err := f.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range newBuckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, binary.BigEndian.AppendUint32(nil, fileFormat))
	})
	if err != nil {
		return fmt.Errorf("bolt: upgrade %s to format %d: %w", path, fileFormat, err)
	}
	return nil
}

// close closes the database. One that is stuck gives up the lock and the file,
// and leaves its mapping behind, which would keep the lock.
func (f *file) close() error {
	if f.guard != nil {
		f.guard.close()
	}
	if f.db != nil && !f.stuck {
		return f.db.Close()
	}
	if f.handle != nil {
		unlockFile(f.handle)
		return f.handle.Close()
	}
	return nil
}

// recoverCorrupt turns a panic of bbolt, or a fault in the mapped file, into an
// ErrCorrupt. bbolt trusts what its pages say, and panics when they lie.
func recoverCorrupt(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("bolt: %w: %v", journal.ErrCorrupt, p)
	}
}

// pageMeta is what bbolt keeps in each of the first two pages; the valid one
// with the higher transaction number counts. A commit writes it last.
type pageMeta struct {
	valid    bool
	slot     int64 // 0 or 1
	pageSize int64
	root     uint64 // page of the bucket that holds the others
	freelist uint64 // page of the list of free pages
	pages    uint64 // high-water mark: all pages in use lie below
	tx       uint64
}

const (
	pageHeaderBytes = 16
	pageMetaBytes   = 64
	bboltMagic      = 0xED0CDAED
	bboltVersion    = 2
)

// readMetas reads both meta pages. The second one's place depends on the page
// size, which only a valid one tells.
func readMetas(f *os.File) (metas [2]pageMeta, err error) {
	size := int64(os.Getpagesize())
	if metas[0], err = readMeta(f, 0, 0); err != nil {
		return metas, err
	}
	sizes := []int64{size}
	if metas[0].valid {
		sizes[0] = metas[0].pageSize
	} else {
		for s := int64(1 << 10); s <= 16<<20; s <<= 1 {
			sizes = append(sizes, s)
		}
	}
	for _, s := range sizes {
		if metas[1], err = readMeta(f, 1, s); err != nil || metas[1].valid {
			return metas, err
		}
	}
	return metas, nil
}

func readMeta(f *os.File, slot, pageSize int64) (pageMeta, error) {
	var page [pageHeaderBytes + pageMetaBytes]byte
	n, err := f.ReadAt(page[:], slot*pageSize)
	if n < len(page) {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return pageMeta{slot: slot}, err
	}
	b, order := page[pageHeaderBytes:], binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(b[:pageMetaBytes-8]) // a hash never fails to write
	m := pageMeta{
		slot:     slot,
		pageSize: int64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		pages:    order.Uint64(b[40:]),
		tx:       order.Uint64(b[48:]),
	}
	m.valid = order.Uint32(b) == bboltMagic && order.Uint32(b[4:]) == bboltVersion &&
		order.Uint64(b[56:]) == sum.Sum64() && m.pageSize >= 512 && (slot == 0 || m.pageSize == pageSize)
	return m, nil
}

// newest returns the meta that counts.
func newest(metas [2]pageMeta) pageMeta {
	if metas[1].valid && (!metas[0].valid || metas[1].tx > metas[0].tx) {
		return metas[1]
	}
	return metas[0]
}

// inspect looks at the file before bbolt does, under its lock: bbolt would
// crash the process on a file that is shorter than it says.
func inspect(path string, opts *Options) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // bbolt creates it, or says what is wrong with the directory
	}
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	defer func() { _ = f.Close() }() // what was written is synced
	if err := lockFile(f, opts.LockTimeout); err != nil {
		if errors.Is(err, errLockHeld) {
			return lockedError(path)
		}
		return fmt.Errorf("bolt: lock %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	metas, err := readMetas(f)
	if err != nil {
		return fmt.Errorf("bolt: read %s: %w", path, err)
	}
	m := newest(metas)
	switch {
	case !m.valid && isBlank(f, info.Size()), m.valid && m.tx <= 1:
		// A crash came before the first commit: bbolt's own first pages are
		// not even whole, and nothing was ever stored.
		if err := f.Truncate(0); err != nil {
			return fmt.Errorf("bolt: %w", err)
		}
		return nil
	case !m.valid:
		return fmt.Errorf("bolt: open %s: neither of its two header pages is valid: %w", path, journal.ErrCorrupt)
	case info.Size()/m.pageSize < 0 || uint64(info.Size()/m.pageSize) < m.pages:
		return fmt.Errorf("bolt: open %s: the file has %d bytes, its header says %d pages of %d: %w",
			path, info.Size(), m.pages, m.pageSize, journal.ErrCorrupt)
	}
	if err := checkPages(f, m); err != nil {
		return fmt.Errorf("bolt: open %s: %w", path, err)
	}
	if err := settle(f, m); err != nil {
		return fmt.Errorf("bolt: sync %s: %w", path, err)
	}
	return nil
}

// isBlank reports whether f holds nothing but zeros and is no larger than what
// bbolt writes first: all that a crash may leave of a new file.
func isBlank(f *os.File, size int64) bool {
	if size > 4*int64(os.Getpagesize()) {
		return false
	}
	content := make([]byte, size)
	_, err := f.ReadAt(content, 0)
	return err == nil && len(bytes.Trim(content, "\x00")) == 0
}

// settle makes durable what the newest meta page says. After a failed sync the
// page cache may show a commit that never reached the disk; a former process
// may have ended there, and this one would build on sand. The pages that the
// meta leads to were synced before it was written.
func settle(f *os.File, m pageMeta) error {
	page := make([]byte, m.pageSize)
	if _, err := f.ReadAt(page, m.slot*m.pageSize); err != nil {
		return err
	}
	if _, err := f.WriteAt(page, m.slot*m.pageSize); err != nil {
		return err
	}
	return f.Sync()
}

// undo makes sure that no transaction after the last committed one counts: if
// one got as far as its meta page, whatever the disk has of it, the page is
// overwritten, durably. Then nothing of the transaction is stored, now or after
// a power cut.
func (f *file) undo() error {
	metas, err := readMetas(f.handle)
	if err != nil {
		return err
	}
	for _, m := range metas {
		if !m.valid || m.tx <= f.committed {
			continue
		}
		if _, err := f.handle.WriteAt(make([]byte, m.pageSize), m.slot*m.pageSize); err != nil {
			return err
		}
		if err := f.handle.Sync(); err != nil {
			return err
		}
	}
	return nil
}

var errLockHeld = errors.New("locked by another process")

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond
