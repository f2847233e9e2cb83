package processors

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"ragstreams/codecs"
)

// TestIDTableIsAMap makes the same changes to the table and to a map, its plain twin.
func TestIDTableIsAMap(t *testing.T) {
	grown := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		table, twin := newIDTable(), map[codecs.ID]uint32{}
		table.secret = [2]uint64{r.Uint64(), r.Uint64()}
		known := make([]codecs.ID, 0, 40_000) // some of them added, some removed since
		pane := uint32(1)
		for range 6 {
			for range r.IntN(8000) {
				var id codecs.ID
				binary.LittleEndian.PutUint64(id[8*r.IntN(2):], r.Uint64()>>r.IntN(60))
				if len(known) > 0 && r.IntN(3) == 0 {
					id = known[r.IntN(len(known))]
				}
				known = append(known, id)
				of := max(1, pane-uint32(r.IntN(3)))
				if _, there := twin[id]; !there {
					twin[id] = of
				}
				table.add(id, of)
			}
			for range 2000 { // crowd the end of the table, where probing goes on at its beginning
				var id codecs.ID
				binary.LittleEndian.PutUint64(id[:], r.Uint64())
				if at, there := table.find(id); !there && at >= len(table.slots)-8 {
					known, twin[id] = append(known, id), pane
					table.add(id, pane)
				}
			}
			grown = max(grown, len(table.slots))
			if 10*table.n > 7*len(table.slots)+10 {
				t.Fatalf("seed %d: %d ids in %d slots, want seven tenths at most", seed, table.n, len(table.slots))
			}
			pane++
			removed := []uint32{pane - 1, max(1, pane-3)}[:1+r.IntN(2)]
			if r.IntN(4) == 0 {
				removed = nil
				for p := range pane + 1 {
					removed = append(removed, p)
				}
			}
			table.remove(removed)
			for id, of := range twin {
				for _, p := range removed {
					if of == p {
						delete(twin, id)
					}
				}
			}
			if most := 4 * max(2*table.n, leastIDs); len(table.slots) > most {
				t.Fatalf("seed %d: %d slots for %d ids, want %d at most: memory is not given back", seed, len(table.slots), table.n, most)
			}
			if table.n != len(twin) {
				t.Fatalf("seed %d: %d ids, want %d", seed, table.n, len(twin))
			}
			for _, id := range known {
				if _, want := twin[id]; table.has(id) != want {
					t.Fatalf("seed %d: has(%x) = %v", seed, id, !want)
				}
			}
		}
	}
	if grown <= 4*leastIDs {
		t.Errorf("%d slots at most: no table has grown, nor shrunk", grown)
	}
}

// The table takes part in no collision that somebody else has looked for.
func TestIDTablesDiffer(t *testing.T) {
	a, b := newIDTable(), newIDTable()
	same := 0
	for i := range 1000 {
		var id codecs.ID
		binary.LittleEndian.PutUint64(id[:], uint64(i))
		at, _ := a.find(id)
		other, _ := b.find(id)
		if at == other {
			same++
		}
	}
	if same > 20 { // one is to be expected
		t.Errorf("%d of 1000 ids have the same home in two tables", same)
	}
}
