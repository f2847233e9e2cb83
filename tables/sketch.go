package tables

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A Sketch keeps up to exactHashes hashes as they are and after that only
// HyperLogLog registers: 2^precision numbers, the hash's first bits choosing one,
// which keeps the greatest rank (leading zeros, plus 1) of the bits that follow.
const (
	exactHashes = 64
	precision   = 11
	registers   = 1 << precision
	maxRank     = 64 - precision + 1

	rankBits   = 6
	packedSize = registers * rankBits / 8
	sparseMax  = packedSize / 2 // registers in use from which packed is the shorter form
)

// Forms of a sketch on the wire; a number up to exactHashes is how many follow.
const (
	formSparse = exactHashes + 1 + iota
	formPacked
)

// Sketch counts distinct 64-bit hashes: exactly up to 64 of them, with a standard
// error of 2.3 % beyond. It depends on the set of hashes only: however they were
// added and merged, equal sets give equal bytes. The hashes must be well mixed,
// such as those of xxh3. The zero Sketch is empty and ready to use.
type Sketch struct {
	hashes []uint64          // ascending; nil once there are ranks
	ranks  *[registers]uint8 // nil while exact
}

// Add counts hash, unless it was counted before.
func (s *Sketch) Add(hash uint64) {
	if s.ranks != nil {
		s.rank(hash)
		return
	}
	i, found := slices.BinarySearch(s.hashes, hash)
	if found {
		return
	}
	if len(s.hashes) == exactHashes {
		s.estimate()
		s.rank(hash)
		return
	}
	s.hashes = slices.Insert(s.hashes, i, hash)
}

// estimate gives up the exact hashes for ranks.
func (s *Sketch) estimate() {
	s.ranks = new([registers]uint8)
	for _, hash := range s.hashes {
		s.rank(hash)
	}
	s.hashes = nil
}

func (s *Sketch) rank(hash uint64) {
	register := hash >> (64 - precision)
	// The bit set below the hash ends the zeros of one that is all zeros.
	rank := uint8(bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1)
	s.ranks[register] = max(s.ranks[register], rank)
}

// Count returns the number of distinct hashes, exactly up to 64 and estimated
// beyond.
func (s *Sketch) Count() int64 {
	if s.ranks == nil {
		return int64(len(s.hashes))
	}
	return int64(math.Round(min(s.cardinality(), 1<<62)))
}

// cardinality is Ertl's improved raw estimator (arXiv 1702.01284, algorithm 6),
// which needs neither bias tables nor a switch between small and large ranges. Its
// term for registers at their end is left out: it takes 2^60 hashes to matter.
func (s *Sketch) cardinality() float64 {
	var used [maxRank + 1]float64 // registers by rank
	for _, rank := range s.ranks {
		used[rank]++
	}
	const m = registers
	z := 0.0
	for rank := maxRank; rank > 0; rank-- {
		z = (z + used[rank]) / 2
	}
	z += m * sigma(used[0]/m)
	return m * m / (2 * math.Ln2 * z)
}

// sigma returns x + Σ x^(2^k) · 2^(k-1) over k ≥ 1: what the registers still at
// zero, a share x of all, tell.
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	sum, weight := x, 1.0
	for before := -1.0; sum != before; weight *= 2 {
		before = sum
		x *= x
		sum += x * weight
	}
	return sum
}

// Merge implements Measure.
func (s *Sketch) Merge(from *Sketch) {
	for _, hash := range from.hashes {
		s.Add(hash)
	}
	if from.ranks == nil {
		return
	}
	if s.ranks == nil {
		s.estimate()
	}
	for i, rank := range from.ranks {
		s.ranks[i] = max(s.ranks[i], rank)
	}
}

// Clone implements Measure.
func (s *Sketch) Clone() Sketch {
	c := Sketch{hashes: slices.Clone(s.hashes)}
	if s.ranks != nil {
		ranks := *s.ranks
		c.ranks = &ranks
	}
	return c
}

// IsZero implements Measure.
func (s *Sketch) IsZero() bool { return len(s.hashes) == 0 && s.ranks == nil }

// Append implements Measure:
//
//	n { hash }                 the exact hashes, 8 bytes each, ascending
//	formSparse n { gap<<6|rank }   the registers in use, gap the ones skipped
//	formPacked ranks           every register in 6 bits
func (s *Sketch) Append(dst []byte) []byte {
	if s.ranks == nil {
		dst = append(dst, byte(len(s.hashes)))
		for _, hash := range s.hashes {
			dst = binary.BigEndian.AppendUint64(dst, hash)
		}
		return dst
	}
	if n := s.inUse(); n < sparseMax {
		return s.appendSparse(binary.AppendUvarint(append(dst, formSparse), uint64(n)))
	}
	dst = append(dst, formPacked)
	for i := 0; i < registers; i += 4 {
		four := uint32(s.ranks[i])<<18 | uint32(s.ranks[i+1])<<12 | uint32(s.ranks[i+2])<<6 | uint32(s.ranks[i+3])
		dst = append(dst, byte(four>>16), byte(four>>8), byte(four))
	}
	return dst
}

func (s *Sketch) inUse() int {
	n := 0
	for _, rank := range s.ranks {
		if rank > 0 {
			n++
		}
	}
	return n
}

func (s *Sketch) appendSparse(dst []byte) []byte {
	next := 0
	for i, rank := range s.ranks {
		if rank > 0 {
			dst = binary.AppendUvarint(dst, uint64(i-next)<<rankBits|uint64(rank))
			next = i + 1
		}
	}
	return dst
}

// Decode implements Measure. Bytes that Append cannot have written are an error.
func (s *Sketch) Decode(src []byte) ([]byte, error) {
	*s = Sketch{}
	d := decoder{src: src}
	switch form := d.byte(); form {
	case formSparse:
		s.decodeSparse(&d)
	case formPacked:
		s.decodePacked(&d)
	default:
		s.decodeExact(&d, int(form))
	}
	return d.src, d.err
}

func (s *Sketch) decodeExact(d *decoder, n int) {
	if n > exactHashes {
		d.fail(errRange)
		return
	}
	for b := d.take(8 * n); len(b) > 0; b = b[8:] {
		hash := binary.BigEndian.Uint64(b)
		if last := len(s.hashes) - 1; last >= 0 && hash <= s.hashes[last] {
			d.fail(errOrder)
			return
		}
		s.hashes = append(s.hashes, hash)
	}
}

func (s *Sketch) decodeSparse(d *decoder) {
	s.ranks = new([registers]uint8)
	n := int(d.below(sparseMax - 1))
	if n == 0 {
		d.fail(errRange)
	}
	next := 0
	for range n {
		v := d.uvarint()
		i, rank := uint64(next)+v>>rankBits, v&(1<<rankBits-1)
		if i >= registers || rank == 0 || rank > maxRank {
			d.fail(errRange)
			return
		}
		s.ranks[i] = uint8(rank)
		next = int(i) + 1
	}
}

func (s *Sketch) decodePacked(d *decoder) {
	s.ranks = new([registers]uint8)
	b := d.take(packedSize)
	if b == nil {
		return
	}
	for i := range s.ranks {
		bit := i * rankBits
		two := binary.BigEndian.Uint16([]byte{b[bit/8], b[min(bit/8+1, packedSize-1)]})
		rank := uint8(two >> (16 - rankBits - bit%8) & (1<<rankBits - 1))
		if rank > maxRank {
			d.fail(errRange)
			return
		}
		s.ranks[i] = rank
	}
	if s.inUse() < sparseMax {
		d.fail(errRange)
	}
}
