package bolt

import (
	"encoding/binary"
	"io"
)

// Layout of bbolt's pages: github.com/etcd-io/bbolt/internal/common.
const (
	pageIsBranch      = 0x01
	pageIsLeaf        = 0x02
	pageIsFreelist    = 0x10
	elementBytes      = 16
	elementIsBucket   = 0x01
	bucketHeaderBytes = 16
	noFreelist        = ^uint64(0)
	mostOverflow      = 7 // of inner pages and of those with buckets: keys are short
)

// checkPages looks for damage that bbolt would not survive, or would make
// worse:
//
//   - An inner page that leads back up: bbolt descends until the stack is full,
//     which ends the process.
//   - A page in use that the list of free pages names: the next commit would
//     overwrite it.
//   - A small bucket whose elements leave it. bbolt keeps it as a value in the
//     page of the bucket that holds it, copies it to the heap to read it, and
//     follows its offsets there unchecked. One that leads out of the copy reads
//     whatever this process has in that place, which may even be an older copy
//     of the same bucket, whose checksums pass; and the collector ends the
//     process when it meets such a pointer.
//
// Offsets in all other pages end in the mapped file or in a fault, or are looked at
// before they do harm (leafGuard). It reads the inner pages and those that hold
// buckets, about one in a hundred.
func checkPages(f io.ReaderAt, m pageMeta) error {
	c := pageChecker{file: f, meta: m, used: newPageSet(m.pages), free: newPageSet(m.pages)}
	c.used.add(0)
	c.used.add(1)
	if err := c.buckets(m.root, true); err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return nil // bbolt finds the free pages itself
	}
	return c.freelist(m.freelist)
}

type pageChecker struct {
	file io.ReaderAt
	meta pageMeta
	used pageSet // without the pages that others go on in
	free pageSet
}

// read returns page id alone.
func (c *pageChecker) read(id uint64) ([]byte, error) {
	page := make([]byte, c.meta.pageSize)
	_, err := c.file.ReadAt(page, int64(id)*c.meta.pageSize)
	return page, err
}

// whole returns page id with the pages that it goes on in, at most so many.
func (c *pageChecker) whole(id, most uint64) ([]byte, error) {
	page, err := c.read(id)
	if err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(page[12:]))
	if overflow == 0 {
		return page, nil
	}
	if overflow > most || id+overflow >= c.meta.pages {
		return nil, corrupt("page %d of %d goes on for %d pages", id, c.meta.pages, overflow)
	}
	page = make([]byte, int64(overflow+1)*c.meta.pageSize)
	_, err = c.file.ReadAt(page, int64(id)*c.meta.pageSize)
	return page, err
}

// leaves returns the leaf pages of the tree below root. All of them are equally
// deep, so only the first of a level is asked what it is.
func (c *pageChecker) leaves(root uint64) ([]uint64, error) {
	order := binary.NativeEndian
	level := []uint64{root}
	for {
		var below []uint64
		for i, id := range level {
			if id < 2 || id >= c.meta.pages {
				return nil, corrupt("page %d of %d", id, c.meta.pages)
			}
			if !c.used.add(id) {
				return nil, corrupt("page %d is used twice", id)
			}
			if i > 0 && below == nil {
				continue // leaves
			}
			page, err := c.read(id)
			if err != nil {
				return nil, err
			}
			flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
			if flags == pageIsLeaf && i == 0 {
				continue
			}
			if page, err = c.whole(id, mostOverflow); err != nil {
				return nil, err
			}
			switch {
			case flags != pageIsBranch, count == 0:
				return nil, corrupt("page %d has flags %#x and %d elements", id, flags, count)
			case pageHeaderBytes+count*elementBytes > len(page):
				return nil, corrupt("page %d has %d elements", id, count)
			}
			if err := checkExtent(id, page, c.meta.pageSize); err != nil {
				return nil, err
			}
			for e := page[pageHeaderBytes:]; count > 0; count-- {
				below = append(below, order.Uint64(e[8:]))
				e = e[elementBytes:]
			}
		}
		if below == nil {
			return level, nil
		}
		level = below
	}
}

// buckets checks the bucket with that root page, which holds other buckets:
// the one at the top, or the log.
func (c *pageChecker) buckets(root uint64, top bool) error {
	leaves, err := c.leaves(root)
	if err != nil {
		return err
	}
	for _, id := range leaves {
		page, err := c.whole(id, mostOverflow)
		if err != nil {
			return err
		}
		if flags := binary.NativeEndian.Uint16(page[8:]); flags != pageIsLeaf {
			return corrupt("page %d has flags %#x", id, flags)
		}
		if err := checkExtent(id, page, c.meta.pageSize); err != nil {
			return err
		}
		if err := c.leaf(id, page, top); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks the buckets that a leaf page holds.
func (c *pageChecker) leaf(id uint64, page []byte, top bool) error {
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
			return eachElement(id, inside, func(flags uint32, inner, _ []byte) error {
				if flags != 0 { // bbolt would say that there is no such key
					return corrupt("page %d: key %q of bucket %q has flags %#x", id, inner, key, flags)
				}
				return nil
			})
		case top && string(key) == string(bucketLog):
			return c.buckets(root, false)
		}
		_, err := c.leaves(root)
		return err
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

// checkExtent checks that the elements of a leaf or of an inner page lie in it, and
// that it goes on in as many pages as they need: bbolt gives those up with it.
func checkExtent(id uint64, page []byte, pageSize int64) error {
	order := binary.NativeEndian
	leaf, count := order.Uint16(page[8:]) == pageIsLeaf, int(order.Uint16(page[10:]))
	if pageHeaderBytes+count*elementBytes > len(page) {
		return corrupt("page %d has %d elements", id, count)
	}
	last := pageHeaderBytes
	for i := range count {
		at := pageHeaderBytes + i*elementBytes
		e := page[at:]
		end := at
		if leaf {
			end += int(order.Uint32(e[4:])) + int(order.Uint32(e[8:])) + int(order.Uint32(e[12:]))
		} else {
			end += int(order.Uint32(e)) + int(order.Uint32(e[4:]))
		}
		if end > len(page) {
			return corrupt("page %d: element %d ends at %d of %d", id, i, end, len(page))
		}
		last = max(last, end)
	}
	// Releases of bbolt before 1.4 take one more where the last is full.
	pages, size := int64(order.Uint32(page[12:]))+1, int64(last)
	if pages != (size+pageSize-1)/pageSize && pages != size/pageSize+1 {
		return corrupt("page %d goes on for %d pages, with %d bytes", id, pages-1, size)
	}
	return nil
}

// freelist checks that the list of free pages names no page that is in use.
func (c *pageChecker) freelist(id uint64) error {
	if id < 2 || id >= c.meta.pages || !c.used.add(id) {
		return corrupt("the list of free pages is in page %d of %d", id, c.meta.pages)
	}
	page, err := c.whole(id, c.meta.pages*8/uint64(c.meta.pageSize)+1)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	if flags := order.Uint16(page[8:]); flags != pageIsFreelist {
		return corrupt("page %d, the list of free pages, has flags %#x", id, flags)
	}
	count, ids := uint64(order.Uint16(page[10:])), page[pageHeaderBytes:]
	if count == 0xFFFF { // too many for the header
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return corrupt("page %d lists %d free pages", id, count)
	}
	for ; count > 0; count-- {
		free := order.Uint64(ids)
		ids = ids[8:]
		if free >= c.meta.pages || c.used.has(free) || !c.free.add(free) {
			return corrupt("page %d lists page %d of %d as free", id, free, c.meta.pages)
		}
	}
	return c.overflows()
}

// overflows checks that no page is listed as free that another one goes on in:
// what lies between a used page and a free one is what the used one goes on in.
func (c *pageChecker) overflows() error {
	used := uint64(1) // the last one
	for id := uint64(2); id < c.meta.pages; id++ {
		switch {
		case c.used.has(id):
			used = id
		case !c.free.has(id) && c.free.has(id-1):
			return corrupt("page %d is neither used nor free", id)
		case c.free.has(id) && !c.free.has(id-1):
			var header [pageHeaderBytes]byte
			if _, err := c.file.ReadAt(header[:], int64(used)*c.meta.pageSize); err != nil {
				return err
			}
			if overflow := uint64(binary.NativeEndian.Uint32(header[12:])); used+overflow+1 != id {
				return corrupt("page %d goes on for %d pages, and page %d is listed as free", used, overflow, id)
			}
		}
	}
	return nil
}

// pageSet is a set of page numbers.
type pageSet []uint64

func newPageSet(pages uint64) pageSet { return make(pageSet, pages/64+1) }

func (s pageSet) has(id uint64) bool { return s[id/64]&(1<<(id%64)) != 0 }

// add adds id, and reports whether it was not in the set.
func (s pageSet) add(id uint64) bool {
	if s.has(id) {
		return false
	}
	s[id/64] |= 1 << (id % 64)
	return true
}
