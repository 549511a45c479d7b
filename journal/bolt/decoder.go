package bolt

import "encoding/binary"

// decoder takes bytes from the front of buf. After the first failure it gives
// zero values, and failed stays set.
type decoder struct {
	buf    []byte
	failed bool
}

func (d *decoder) fail() { d.buf, d.failed = nil, true }

func (d *decoder) byte() byte {
	if len(d.buf) == 0 {
		d.fail()
		return 0
	}
	b := d.buf[0]
	d.buf = d.buf[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	if len(d.buf) > 0 && d.buf[0] < 0x80 {
		n := uint64(d.buf[0])
		d.buf = d.buf[1:]
		return n
	}
	n, size := binary.Uvarint(d.buf)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.buf)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[size:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.buf)) {
		d.fail()
		return nil
	}
	taken := d.buf[:n:n]
	d.buf = d.buf[n:]
	return taken
}

// bytes takes a length and so many bytes.
func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

// back takes a distance and returns the position so far behind.
func (d *decoder) back(position uint64) uint64 {
	n := d.uvarint()
	if n == 0 {
		return 0
	}
	if n >= position {
		d.fail()
		return 0
	}
	return position - n
}

func (d *decoder) rest() []byte {
	taken := d.buf
	d.buf = nil
	return taken
}

// metadata takes an encoded metadata whole, for [decodeMetadata].
func (d *decoder) metadata() []byte {
	start := d.buf
	flags := d.byte()
	for bit := byte(1); bit < metaKeys; bit <<= 1 {
		if flags&bit != 0 {
			d.bytes()
		}
	}
	if flags&metaKeys != 0 {
		for n := d.uvarint(); n > 0 && !d.failed; n-- {
			d.bytes()
			d.bytes()
		}
	}
	if flags >= metaKeys<<1 {
		d.fail()
	}
	return start[:len(start)-len(d.buf)]
}
