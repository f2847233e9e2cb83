package event

import (
	"fmt"
	"strconv"
	"strings"
)

// Place is where a record lies.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String writes a place such as rag-traces/0@17.
func (p Place) String() string { return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset) }

// ParsePlace reads what String writes.
func ParsePlace(text string) (Place, error) {
	rest, offset := cutLast(text, '@')
	topic, partition := cutLast(rest, '/')
	p, err1 := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if topic == "" || err1 != nil || err2 != nil || p < 0 || o < 0 {
		return Place{}, fmt.Errorf("%q is no place of a record: want TOPIC/PARTITION@OFFSET", text)
	}
	return Place{topic, int32(p), o}, nil
}

// cutLast parts a text at the last of its separators.
func cutLast(s string, sep byte) (before, after string) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}
