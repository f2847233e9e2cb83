package processors

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"

	"ragstreams/codecs"
)

// idTable is a set of ids, each with the number of its pane, which they leave
// together. It takes about 35 bytes an id, where a map takes 50, and 100 once ids
// have come and gone for a while.
//
// It is a hash table with linear probing: an id is in its home or in one of the slots
// behind it, with none empty between. Ids are hashes of what users send, so their homes
// depend on a secret.
type idTable struct {
	slots  []idSlot
	n      int
	secret [2]uint64
}

type idSlot struct {
	id   codecs.ID
	pane uint32 // 0: the slot is empty
}

// leastIDs is the least number of slots.
const leastIDs = 1024

func newIDTable() idTable {
	return idTable{slots: make([]idSlot, leastIDs), secret: [2]uint64{rand.Uint64(), rand.Uint64()}}
}

// find returns the slot of id, or the empty one where it would be.
func (t *idTable) find(id codecs.ID) (at int, found bool) {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^t.secret[0], binary.LittleEndian.Uint64(id[8:])^t.secret[1])
	home, _ := bits.Mul64(high^low, uint64(len(t.slots)))
	for at = int(home); t.slots[at].pane != 0; {
		if t.slots[at].id == id {
			return at, true
		}
		if at++; at == len(t.slots) {
			at = 0
		}
	}
	return at, false
}

func (t *idTable) has(id codecs.ID) bool {
	_, found := t.find(id)
	return found
}

// add adds id with a pane that is not 0. An id that is there stays as it is.
func (t *idTable) add(id codecs.ID, pane uint32) {
	if 10*t.n >= 7*len(t.slots) { // the way to an empty slot gets long
		t.resize(len(t.slots) * 3 / 2)
	}
	if at, found := t.find(id); !found {
		t.slots[at] = idSlot{id, pane}
		t.n++
	}
}

// remove removes the ids of some panes.
func (t *idTable) remove(panes []uint32) {
	// Behind an empty slot, the homes of all that follow lie behind it, too. So taken
	// out and put back in order, they stay where they were or move towards their homes.
	begin := slices.IndexFunc(t.slots, func(s idSlot) bool { return s.pane == 0 })
	for i := range t.slots {
		at := (begin + i) % len(t.slots)
		s := t.slots[at]
		if s.pane == 0 {
			continue
		}
		t.slots[at] = idSlot{}
		if slices.Contains(panes, s.pane) {
			t.n--
			continue
		}
		at, _ = t.find(s.id)
		t.slots[at] = s
	}
	if fit := max(2*t.n, leastIDs); fit < len(t.slots)/4 {
		t.resize(fit)
	}
}

func (t *idTable) resize(n int) {
	old := t.slots
	t.slots = make([]idSlot, n)
	for _, s := range old {
		if s.pane != 0 {
			at, _ := t.find(s.id)
			t.slots[at] = s
		}
	}
}
