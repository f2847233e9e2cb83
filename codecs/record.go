package codecs

import "fmt"

// Header is one record header. Like Record it is an alias, so that the
// transport's is the same type.
type Header = struct {
	Key   string
	Value []byte
}

// Record is one record of a source topic as it was polled. Nil and empty keys
// and values are told apart. The slices are the transport's and must not be
// written to.
type Record = struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds, Kafka's
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Raw is a goka codec for bytes: stages read and write what is packed themselves.
type Raw struct{}

// Decode implements goka.Codec.
func (Raw) Decode(data []byte) (any, error) { return data, nil }

// Encode implements goka.Codec.
func (Raw) Encode(value any) ([]byte, error) {
	b, ok := value.([]byte)
	if !ok {
		return nil, fmt.Errorf("encode %T: want []byte", value)
	}
	return b, nil
}
