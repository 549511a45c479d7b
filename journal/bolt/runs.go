package bolt

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"

	bbolt "go.etcd.io/bbolt"
)

// A run is one value in bucket receipts: the keys and positions of receipts,
// sorted by key, with a filter in front. It is written once and deleted whole,
// because a bucket with random keys would rewrite a page for every receipt.
//
//	format, 3 zero bytes, checksum    8 bytes; of the run's number and the rest
//	count, newest, first, last        4 × 8 bytes; see runInfo
//	blocks                            8 bytes; of the filter
//	the filter                        blocks × 64 bytes
//	entries                           count × (16 bytes of key + 8 bytes of position)
//
// The filter is a Bloom filter of 64-byte blocks: a key that is not in the run,
// which is nearly every one that is asked for, costs one cache line.
type run struct {
	runInfo
	filter  []byte
	entries []byte
}

// runInfo is what the list of runs, stored in bucket meta, says about one. The
// list is in the order of positions.
type runInfo struct {
	number      uint64 // its key
	count       uint64 // of entries
	newest      int64  // no receipt in it was stored after this time, in µs
	first, last uint64 // the positions of its receipts lie within
}

const (
	runHeaderBytes = 48
	runEntryBytes  = 24
	runInfoBytes   = 5 * 8

	filterBlockBytes = 64
	filterProbes     = 6
	filterKeysPer    = 48 // per block of 512 bits: about 1 of 100 strangers passes
)

// runEntry is one receipt of a run. Its key is in two words so that it compares
// fast; the order is that of the stored bytes.
type runEntry struct{ high, low, position uint64 }

func (k receiptKey) words() (high, low uint64) {
	return binary.BigEndian.Uint64(k[:8]), binary.BigEndian.Uint64(k[8:])
}

func sortRunEntries(entries []runEntry) {
	slices.SortFunc(entries, func(a, b runEntry) int {
		if a.high != b.high {
			return cmp.Compare(a.high, b.high)
		}
		if a.low != b.low {
			return cmp.Compare(a.low, b.low)
		}
		return cmp.Compare(a.position, b.position)
	})
}

// encodeRun sorts entries and returns the value to be stored under info.number.
// It sets info.count.
func encodeRun(info *runInfo, entries []runEntry) []byte {
	sortRunEntries(entries)
	info.count = uint64(len(entries))
	blocks := info.count/filterKeysPer + 1
	value := make([]byte, runHeaderBytes, runHeaderBytes+blocks*filterBlockBytes+info.count*runEntryBytes)
	value[0] = format
	for i, n := range [...]uint64{info.count, uint64(info.newest), info.first, info.last, blocks} {
		binary.BigEndian.PutUint64(value[8+8*i:], n)
	}
	value = append(value, make([]byte, blocks*filterBlockBytes)...)
	filter := value[runHeaderBytes:]
	for _, e := range entries {
		block := filterBlock(filter, e.high)
		for probes, i := e.low, 0; i < filterProbes; i++ {
			block[probes>>3&63] |= 1 << (probes & 7)
			probes >>= 9
		}
	}
	for _, e := range entries {
		value = binary.BigEndian.AppendUint64(value, e.high)
		value = binary.BigEndian.AppendUint64(value, e.low)
		value = binary.BigEndian.AppendUint64(value, e.position)
	}
	binary.BigEndian.PutUint32(value[4:], runChecksum(info.number, value))
	return value
}

// filterBlock is the one block of filter that a key with these high bits uses.
func filterBlock(filter []byte, high uint64) []byte {
	n, _ := bits.Mul64(high, uint64(len(filter)/filterBlockBytes))
	return filter[n*filterBlockBytes:][:filterBlockBytes]
}

func runChecksum(number uint64, value []byte) uint32 {
	key := uint64Key(number)
	return keyedCRC(append(key[:], value[:4]...), value[8:])
}

// parseRun takes a stored run apart; it shares the value's memory. Unless
// verified says that it was done before, the checksum is verified.
func parseRun(number uint64, value []byte, verified bool) (run, error) {
	if len(value) < runHeaderBytes || value[0] != format {
		return run{}, corrupt("receipts run %d", number)
	}
	if !verified && binary.BigEndian.Uint32(value[4:]) != runChecksum(number, value) {
		return run{}, corrupt("receipts run %d fails its checksum", number)
	}
	r := run{runInfo: runInfo{
		number: number,
		count:  binary.BigEndian.Uint64(value[8:]),
		newest: int64(binary.BigEndian.Uint64(value[16:])),
		first:  binary.BigEndian.Uint64(value[24:]),
		last:   binary.BigEndian.Uint64(value[32:]),
	}}
	blocks, rest := binary.BigEndian.Uint64(value[40:]), uint64(len(value)-runHeaderBytes)
	if blocks == 0 || blocks > rest/filterBlockBytes || r.count > rest/runEntryBytes ||
		blocks*filterBlockBytes+r.count*runEntryBytes != rest {
		return run{}, corrupt("receipts run %d is malformed", number)
	}
	r.filter = value[runHeaderBytes:][:blocks*filterBlockBytes]
	r.entries = value[runHeaderBytes+blocks*filterBlockBytes:]
	return r, nil
}

func (r *run) at(i uint64) runEntry {
	e := r.entries[i*runEntryBytes:][:runEntryBytes]
	return runEntry{binary.BigEndian.Uint64(e), binary.BigEndian.Uint64(e[8:]), binary.BigEndian.Uint64(e[16:])}
}

// find returns the position stored for key, and 0 for none. Keys are hashes,
// so where one lies is guessed from its value; the guesses get ever better
// bounds, and after a few the rest is halved.
func (r *run) find(key receiptKey) uint64 {
	high, low := key.words()
	block := filterBlock(r.filter, high)
	for probes, i := low, 0; i < filterProbes; i++ {
		if block[probes>>3&63]&(1<<(probes&7)) == 0 {
			return 0
		}
		probes >>= 9
	}
	from, to := uint64(0), r.count // the key is in [from, to) if anywhere
	guess, _ := bits.Mul64(high, r.count)
	for step := uint64(64); from < to; step *= 4 {
		guess = min(max(guess, from), to-1)
		e := r.at(guess)
		switch {
		case e.high == high && e.low == low:
			return e.position
		case e.high < high || e.high == high && e.low < low:
			from = guess + 1
			guess = from + min(step, (to-from)/2)
		default:
			to = guess
			guess = to - min(step, (to-from)/2)
		}
	}
	return 0
}

// verifiedRuns remembers which runs had their checksum verified by this
// process: once is enough, and it takes milliseconds.
type verifiedRuns struct {
	mu   sync.Mutex
	runs map[uint64]struct{}
}

func (v *verifiedRuns) has(number uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.runs[number]
	return ok
}

func (v *verifiedRuns) add(number uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.runs == nil {
		v.runs = make(map[uint64]struct{})
	}
	v.runs[number] = struct{}{}
}

func (v *verifiedRuns) remove(number uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.runs, number)
}

// openRuns returns the runs of tx, valid as long as it is.
func openRuns(tx *bbolt.Tx, verified *verifiedRuns) ([]run, error) {
	infos, err := readRunInfos(tx)
	if err != nil || len(infos) == 0 {
		return nil, err
	}
	bucket := tx.Bucket(bucketReceipts)
	if bucket == nil {
		return nil, corrupt("bucket receipts is missing")
	}
	runs := make([]run, len(infos))
	for i, info := range infos {
		known := verified.has(info.number)
		key := uint64Key(info.number)
		if runs[i], err = parseRun(info.number, bucket.Get(key[:]), known); err != nil {
			return nil, err
		}
		if runs[i].runInfo != info {
			return nil, corrupt("receipts run %d is not the listed one", info.number)
		}
		if !known {
			verified.add(info.number)
		}
	}
	return runs, nil
}

// findInRuns returns the position of key, and 0 for none, newest run first.
func findInRuns(runs []run, key receiptKey) uint64 {
	for i := len(runs) - 1; i >= 0; i-- {
		if position := runs[i].find(key); position != 0 {
			return position
		}
	}
	return 0
}

// readRunInfos reads the list of runs; without one there are none.
func readRunInfos(tx *bbolt.Tx) ([]runInfo, error) {
	bucket := tx.Bucket(bucketMeta)
	if bucket == nil {
		return nil, corrupt("bucket meta is missing")
	}
	value := bucket.Get(keyRuns)
	if value == nil {
		return nil, nil
	}
	return parseRunInfos(value)
}

func appendRunInfos(buf []byte, infos []runInfo) []byte {
	start := len(buf)
	for _, r := range infos {
		for _, n := range [...]uint64{r.number, r.count, uint64(r.newest), r.first, r.last} {
			buf = binary.BigEndian.AppendUint64(buf, n)
		}
	}
	return binary.BigEndian.AppendUint32(buf, keyedCRC(keyRuns, buf[start:]))
}

func parseRunInfos(value []byte) ([]runInfo, error) {
	n := len(value) - 4
	if n < 0 || n%runInfoBytes != 0 || binary.BigEndian.Uint32(value[n:]) != keyedCRC(keyRuns, value[:n]) {
		return nil, corrupt("list of receipts runs")
	}
	infos := make([]runInfo, 0, n/runInfoBytes)
	for b := value[:n]; len(b) > 0; b = b[runInfoBytes:] {
		infos = append(infos, runInfo{
			number: binary.BigEndian.Uint64(b),
			count:  binary.BigEndian.Uint64(b[8:]),
			newest: int64(binary.BigEndian.Uint64(b[16:])),
			first:  binary.BigEndian.Uint64(b[24:]),
			last:   binary.BigEndian.Uint64(b[32:]),
		})
	}
	return infos, nil
}
