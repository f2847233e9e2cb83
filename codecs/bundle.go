package codecs

import (
	"encoding/binary"
	"fmt"
)

// Header is one record header; an alias, so that the transport's is the same
// type.
type Header = struct {
	Key   string
	Value []byte
}

// Record is one record of a source topic as it was polled. Nil and empty keys
// and values are told apart. The slices point into the bundle.
type Record struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds, Kafka's
	Key       []byte
	Value     []byte
	Headers   []Header
}

// AppendRecord appends one record to a bundle: the records of one partition
// that were polled together, handed through goka as one message.
func AppendRecord(dst []byte, offset, timestamp int64, key, value []byte, headers []Header) []byte {
	dst = binary.AppendUvarint(dst, uint64(offset))
	dst = binary.AppendVarint(dst, timestamp)
	dst = appendNullable(dst, key)
	dst = appendNullable(dst, value)
	dst = binary.AppendUvarint(dst, uint64(len(headers)))
	for _, h := range headers {
		dst = appendNullable(dst, []byte(h.Key))
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b))+1)
	return append(dst, b...)
}

// Bundle is a goka codec whose messages are bundles; the callback gets the
// bytes and reads them with NextRecord.
type Bundle struct{}

// Decode implements goka.Codec.
func (Bundle) Decode(data []byte) (any, error) { return data, nil }

// Encode implements goka.Codec.
func (Bundle) Encode(value any) ([]byte, error) {
	b, ok := value.([]byte)
	if !ok {
		return nil, fmt.Errorf("encode %T: want []byte", value)
	}
	return b, nil
}

// NextRecord reads the first record of a bundle into r and returns the rest.
// Headers of r are overwritten. Bundles never leave the process, so a malformed
// one is a bug.
func NextRecord(bundle []byte, r *Record) (rest []byte) {
	d := reader{data: bundle}
	r.Offset = int64(d.uvarint())
	r.Timestamp = d.varint()
	r.Key = d.nullable()
	r.Value = d.nullable()
	r.Headers = r.Headers[:0]
	for range d.uvarint() {
		r.Headers = append(r.Headers, Header{Key: string(d.nullable()), Value: d.nullable()})
	}
	if d.err != nil {
		panic("BUG: malformed bundle: " + d.err.Error())
	}
	return d.data
}

// reader reads the formats of this package. After the first error it reads
// zeros.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("cut short in %s", what)
	}
	r.data = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.fail("a byte")
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.fail("a string")
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) string() string { return string(r.bytes(r.uvarint())) }

func (r *reader) nullable() []byte {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	return r.bytes(n - 1)
}

func (r *reader) uint64() uint64 {
	b := r.bytes(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
