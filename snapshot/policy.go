package snapshot

// DefaultEvery is how many events lie between two snapshots unless a [Policy]
// says otherwise. With 100, a cold load reads one snapshot and at most about a
// hundred records: one block of a bbolt journal, one round trip of a server.
const DefaultEvery = 100

// Policy says when a snapshot is due.
type Policy struct {
	// Every is how many events may lie behind the last snapshot before the
	// next is due. Zero means [DefaultEvery]; negative means never.
	Every int

	// AtPassivation is how many events behind the last snapshot make one
	// worth writing when the aggregate is passivated. Zero means 10: fewer
	// are replayed faster than a snapshot is written and read. Negative means
	// never.
	AtPassivation int
}

// Due reports whether a stream at version needs a snapshot, when the newest
// stored one is at last (zero for none).
func (p Policy) Due(version, last uint64) bool {
	return due(version, last, p.Every, DefaultEvery)
}

// DueAtPassivation reports whether passivating an aggregate at version is
// worth a snapshot, when the newest stored one is at last.
func (p Policy) DueAtPassivation(version, last uint64) bool {
	const fallback = 10
	return due(version, last, p.AtPassivation, fallback)
}

func due(version, last uint64, every, fallback int) bool {
	switch {
	case every < 0 || version <= last:
		return false
	case every == 0:
		every = fallback
	}
	return version-last >= uint64(every)
}
