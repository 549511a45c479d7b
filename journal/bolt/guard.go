package bolt

import (
	"bytes"
	"encoding/binary"
	"os"

	bbolt "go.etcd.io/bbolt"
)

// leafGuard looks at leaf pages before bbolt takes them apart to change them.
// bbolt believes what they say: an element with a damaged length is copied with
// that length, which can be all memory that there is, and a page that is said to go
// on in others gives them up with itself, whoever uses them.
//
// Only pages that the file had when it was opened are looked at, and once: what is
// written later is this process's own. Only the committer uses it.
type leafGuard struct {
	file     *os.File
	data     []byte // of the file, mapped; nil where that cannot be
	pageSize int64
	pages    uint64  // in the file when it was opened
	sound    pageSet // of them, those that were looked at
}

func newLeafGuard(f *os.File, pageSize, size int64) *leafGuard {
	pages := uint64(size / pageSize)
	return &leafGuard{file: f, pageSize: pageSize, pages: pages, sound: newPageSet(pages)}
}

// emptyPages are those of a file without content, which were looked at when it was
// opened: two of meta, a list of free ones, a leaf.
const emptyPages = 4

// change is to be called before a key of b is put, or deleted: then bbolt may join
// what is left of its page with those beside it.
func (l *leafGuard) change(b *bbolt.Bucket, key []byte, deleted bool) error {
	id := uint64(b.Root())
	if id == 0 || l.pages <= emptyPages {
		return nil // a bucket in the page of another one was looked at when the file was opened, too
	}
	for range maxDepth {
		page, err := l.page(id)
		if err != nil {
			return err
		}
		switch flags := binary.NativeEndian.Uint16(page[8:]); flags {
		case pageIsLeaf:
			return l.leaf(id, page)
		case pageIsBranch:
		default:
			return corrupt("page %d has flags %#x", id, flags)
		}
		ids, err := childrenOf(id, page, key)
		if err != nil {
			return err
		}
		for _, beside := range [...]uint64{ids[0], ids[2]} {
			if beside == 0 || !deleted {
				continue
			}
			if err := l.beside(beside); err != nil {
				return err
			}
		}
		id = ids[1]
	}
	return corrupt("page %d lies too deep", id)
}

// maxDepth is more than any tree has.
const maxDepth = 32

// beside looks at a leaf that is the neighbour of another one.
func (l *leafGuard) beside(id uint64) error {
	page, err := l.page(id)
	if err != nil || binary.NativeEndian.Uint16(page[8:]) != pageIsLeaf {
		return err
	}
	return l.leaf(id, page)
}

// leaf looks at one page, unless it did before.
func (l *leafGuard) leaf(id uint64, page []byte) error {
	if id >= l.pages || l.sound.has(id) {
		return nil
	}
	if err := checkExtent(id, page, l.pageSize); err != nil {
		return err
	}
	l.sound.add(id)
	return nil
}

// page returns page id, with those that it says it goes on in. It is there until the
// next call.
func (l *leafGuard) page(id uint64) ([]byte, error) {
	head, err := l.read(id, 1)
	if err != nil {
		return nil, err
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if more == 0 {
		return head, nil
	}
	return l.read(id, more+1)
}

func (l *leafGuard) read(id, pages uint64) ([]byte, error) {
	begin, end := int64(id)*l.pageSize, int64(id+pages)*l.pageSize
	if end <= int64(len(l.data)) {
		return l.data[begin:end], nil
	}
	info, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	if id < 2 || end > info.Size() {
		return nil, corrupt("page %d goes on for %d pages, beyond the file", id, pages-1)
	}
	l.close()
	if l.data, err = mapFile(l.file, 2*info.Size()); err == nil { // it will grow
		return l.data[begin:end], nil
	}
	page := make([]byte, end-begin) // address space is limited here
	_, err = l.file.ReadAt(page, begin)
	return page, err
}

func (l *leafGuard) close() {
	if l.data != nil {
		unmapFile(l.data)
		l.data = nil
	}
}

// childrenOf returns the page below inner page id that leads to key, between those
// beside it; 0 where there is none.
func childrenOf(id uint64, page, key []byte) (ids [3]uint64, err error) {
	order := binary.NativeEndian
	count := int(order.Uint16(page[10:]))
	if count == 0 || pageHeaderBytes+count*elementBytes > len(page) {
		return ids, corrupt("page %d has %d elements", id, count)
	}
	low, high := 0, count // the first one beyond key
	for low < high {
		middle := (low + high) / 2
		e := pageHeaderBytes + middle*elementBytes
		begin := e + int(order.Uint32(page[e:]))
		end := begin + int(order.Uint32(page[e+4:]))
		if end > len(page) {
			return ids, corrupt("page %d: element %d ends at %d of %d", id, middle, end, len(page))
		}
		if bytes.Compare(page[begin:end], key) > 0 {
			high = middle
		} else {
			low = middle + 1
		}
	}
	at := max(low-1, 0)
	for i := range ids {
		if e := at - 1 + i; e >= 0 && e < count {
			ids[i] = order.Uint64(page[pageHeaderBytes+e*elementBytes+8:])
		}
	}
	return ids, nil
}
