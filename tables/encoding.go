package tables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

var (
	errShort = errors.New("bytes end too early")
	errRange = errors.New("number out of range")
	errOrder = errors.New("elements out of order")
)

// appendCount writes a number that is never negative.
func appendCount(dst []byte, n int64) []byte {
	return binary.AppendUvarint(dst, uint64(n))
}

// appendString writes s behind its length.
func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendSigned writes any number.
func appendSigned(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

// appendBytes writes b behind its length.
func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// appendBody writes m behind the number of its bytes, which is known only once
// they are written: most are few, and their number takes a byte.
func appendBody(dst []byte, m interface{ Append([]byte) []byte }) []byte {
	dst = append(dst, 0)
	at := len(dst)
	dst = m.Append(dst)
	size := len(dst) - at
	if size < 0x80 {
		dst[at-1] = byte(size)
		return dst
	}
	var long [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(long[:], uint64(size))
	dst[at-1] = long[0]
	return slices.Insert(dst, at, long[1:n]...)
}

// appendTraceID writes what traceID will read: an id of hexadecimal digits, as
// OpenTelemetry has them, in half its length.
func appendTraceID(dst []byte, id string) []byte {
	id = keptTraceID(id)
	at := len(dst)
	dst = append(dst, byte(len(id)<<1))
	if n := len(id) / 2; 2*n == len(id) {
		for i := 0; ; i += 2 {
			if i == len(id) {
				dst[at] |= 1
				return dst
			}
			high, low := hexValue[id[i]], hexValue[id[i+1]]
			if high|low > 0xf {
				break
			}
			dst = append(dst, high<<4|low)
		}
	}
	return append(dst[:at+1], id...)
}

const hexDigits = "0123456789abcdef"

// hexValue is the value of a digit, more than 0xf of what is none.
var hexValue = func() (values [256]byte) {
	for c := range values {
		values[c] = byte(strings.IndexByte(hexDigits, byte(c)))
	}
	return values
}()

// decoder takes fields off the front of src. After the first field that is cut
// short or out of range it yields zeros, and err says why; so callers check err
// once, but must not loop on a number they have not checked.
type decoder struct {
	src []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.src = nil
}

// take returns the next n bytes, which alias src, or nil where there are fewer.
func (d *decoder) take(n int) []byte {
	if len(d.src) < n {
		d.fail(errShort)
		return nil
	}
	b := d.src[:n:n]
	d.src = d.src[n:]
	return b
}

func (d *decoder) byte() byte {
	if len(d.src) == 0 {
		d.fail(errShort)
		return 0
	}
	b := d.src[0]
	d.src = d.src[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	if len(d.src) > 0 && d.src[0] < 0x80 { // most are small
		v := d.src[0]
		d.src = d.src[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.src)
	if n <= 0 {
		d.failVarint(n)
		return 0
	}
	d.src = d.src[n:]
	return v
}

// pair reads two numbers that are small, mostly.
func (d *decoder) pair() (a, b uint64) {
	if s := d.src; len(s) > 1 && s[0]|s[1] < 0x80 {
		d.src = s[2:]
		return uint64(s[0]), uint64(s[1])
	}
	return d.uvarint(), d.uvarint()
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.src)
	if n <= 0 {
		d.failVarint(n)
		return 0
	}
	d.src = d.src[n:]
	return v
}

func (d *decoder) int32() int32 {
	v := d.varint()
	if v != int64(int32(v)) {
		d.fail(errRange)
		return 0
	}
	return int32(v)
}

func (d *decoder) failVarint(n int) {
	if n == 0 {
		d.fail(errShort)
	} else {
		d.fail(errRange)
	}
}

// count reads what appendCount wrote.
func (d *decoder) count() int64 {
	return int64(d.below(math.MaxInt64))
}

// below reads a number of at most limit.
func (d *decoder) below(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail(errRange)
		return 0
	}
	return v
}

// elements reads the number of elements that follow, each of at least size
// bytes, so that a corrupt number cannot ask for more memory than src justifies.
func (d *decoder) elements(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.src)/size) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

// bytes returns the bytes behind a length; they alias src.
func (d *decoder) bytes() []byte { return d.take(d.elements(1)) }

func (d *decoder) string() string { return string(d.bytes()) }

// traceID reads what appendTraceID wrote.
func (d *decoder) traceID() string {
	head := d.byte()
	n := int(head >> 1)
	if n > MaxTraceID || head&1 == 1 && n%2 == 1 {
		d.fail(errRange)
		return ""
	}
	if head&1 == 0 {
		return string(d.take(n))
	}
	var id [MaxTraceID]byte
	for i, b := range d.take(n / 2) {
		id[2*i], id[2*i+1] = hexDigits[b>>4], hexDigits[b&0xf]
	}
	if d.err != nil {
		return ""
	}
	return string(id[:n])
}

// measure reads m, one part of a larger record.
func (d *decoder) measure(m interface {
	Decode([]byte) ([]byte, error)
}) {
	if d.err != nil {
		return
	}
	rest, err := m.Decode(d.src)
	if err != nil {
		d.fail(err)
		return
	}
	d.src = rest
}

// version reads the byte that opens a record.
func (d *decoder) version() {
	v := d.byte()
	if d.err == nil && v != Version {
		d.fail(fmt.Errorf("format version %d, this program reads %d", v, Version))
	}
}

// end returns the error of the record that was read, which must have no more bytes.
func (d *decoder) end() error {
	if d.err == nil && len(d.src) > 0 {
		d.fail(fmt.Errorf("%d bytes after its end", len(d.src)))
	}
	return d.err
}
