package bolt

import (
	"encoding/binary"
	"io"
)

// checkBuckets looks at the pages that hold other buckets: the root's, and
// those of the log. bbolt keeps a small bucket as a value in such a page,
// copies it to the heap to read it, and follows its offsets there unchecked.
// One that leads out of the copy reads whatever this process has in that
// place, which may even be an older copy of the same bucket, whose checksums
// pass; and the collector ends the process when it meets such a pointer.
// Offsets in all other pages end in the mapped file or in a fault.
func checkBuckets(f io.ReaderAt, m pageMeta) error {
	c := bucketChecker{file: f, meta: m, left: m.pages}
	return c.pages(m.root, true)
}

type bucketChecker struct {
	file io.ReaderAt
	meta pageMeta
	left uint64 // pages that may still be looked at, so that a ring ends
}

// Layout of bbolt's pages: github.com/etcd-io/bbolt/internal/common.
const (
	pageIsBranch       = 0x01
	pageIsLeaf         = 0x02
	elementBytes       = 16
	elementIsBucket    = 0x01
	bucketHeaderBytes  = 16
	mostBucketOverflow = 7 // small buckets and short keys: one page, at times two
)

// pages checks the tree of bucket elements below page id.
func (c *bucketChecker) pages(id uint64, top bool) error {
	page, err := c.read(id)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	count := int(order.Uint16(page[10:]))
	switch order.Uint16(page[8:]) {
	case pageIsLeaf:
		return c.leaf(id, page, top)
	case pageIsBranch:
		if pageHeaderBytes+count*elementBytes > len(page) {
			return corrupt("page %d has %d elements", id, count)
		}
		for i := range count {
			e := page[pageHeaderBytes+i*elementBytes:]
			if err := c.pages(order.Uint64(e[8:]), top); err != nil {
				return err
			}
		}
		return nil
	}
	return corrupt("page %d has flags %#x", id, order.Uint16(page[8:]))
}

func (c *bucketChecker) read(id uint64) ([]byte, error) {
	if id < 2 || id >= c.meta.pages || c.left == 0 {
		return nil, corrupt("page %d of %d", id, c.meta.pages)
	}
	c.left--
	page := make([]byte, c.meta.pageSize)
	if _, err := c.file.ReadAt(page, int64(id)*c.meta.pageSize); err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(page[12:]))
	if overflow == 0 {
		return page, nil
	}
	if overflow > mostBucketOverflow || id+overflow >= c.meta.pages {
		return nil, corrupt("page %d goes on for %d pages", id, overflow)
	}
	page = make([]byte, int64(overflow+1)*c.meta.pageSize)
	_, err := c.file.ReadAt(page, int64(id)*c.meta.pageSize)
	return page, err
}

// leaf checks the elements of a leaf: of those that are buckets, the ones that
// are kept inside, and the pages of the log, which holds buckets itself.
func (c *bucketChecker) leaf(id uint64, page []byte, top bool) error {
	return eachElement(id, page, func(flags uint32, key, value []byte) error {
		if flags&elementIsBucket == 0 {
			return nil
		}
		if len(value) < bucketHeaderBytes {
			return corrupt("page %d: bucket %q has %d bytes", id, key, len(value))
		}
		root, inside := binary.NativeEndian.Uint64(value), value[bucketHeaderBytes:]
		switch {
		case root == 0 && (len(inside) < pageHeaderBytes || binary.NativeEndian.Uint16(inside[8:]) != pageIsLeaf):
			return corrupt("page %d: bucket %q is no leaf", id, key)
		case root == 0:
			return eachElement(id, inside, func(uint32, []byte, []byte) error { return nil })
		case top && string(key) == string(bucketLog):
			return c.pages(root, false)
		}
		return nil
	})
}

// eachElement calls visit for each element of a leaf, and refuses one that does
// not lie in it.
func eachElement(id uint64, page []byte, visit func(flags uint32, key, value []byte) error) error {
	order := binary.NativeEndian
	count := int(order.Uint16(page[10:]))
	if pageHeaderBytes+count*elementBytes > len(page) {
		return corrupt("page %d has %d elements", id, count)
	}
	for i := range count {
		at := pageHeaderBytes + i*elementBytes
		e := page[at:]
		start := at + int(order.Uint32(e[4:]))
		mid := start + int(order.Uint32(e[8:]))
		end := mid + int(order.Uint32(e[12:]))
		if end > len(page) {
			return corrupt("page %d: element %d ends at %d of %d", id, i, end, len(page))
		}
		if err := visit(order.Uint32(e), page[start:mid], page[mid:end]); err != nil {
			return err
		}
	}
	return nil
}
