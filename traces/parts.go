package traces

import (
	"cmp"
	"slices"
)

// Span is a range of offsets: From inclusive, To exclusive.
type Span struct{ From, To int64 }

// Parts are spans of partitions, by topic.
type Parts map[string]map[int32]Span

// each calls visit for every part, in no particular order.
func (p Parts) each(visit func(topic string, partition int32, s Span)) {
	for topic, spans := range p {
		for partition, s := range spans {
			visit(topic, partition, s)
		}
	}
}

func (p Parts) set(topic string, partition int32, s Span) {
	if p[topic] == nil {
		p[topic] = map[int32]Span{}
	}
	p[topic][partition] = s
}

// empty reports whether there is no record in any part.
func (p Parts) empty() bool {
	none := true
	p.each(func(_ string, _ int32, s Span) { none = none && s.From >= s.To })
	return none
}

// share returns how many records of each partition make n of all.
func (p Parts) share(n int) int64 {
	partitions := 0
	for _, spans := range p {
		partitions += len(spans)
	}
	return int64(max(1, n/max(1, partitions)))
}

// last returns the last records of all partitions, n or fewer, but one of each at least, and
// the rest, which tells of those, too, of which nothing is left.
func (p Parts) last(n int) (part, rest Parts) {
	part, rest = Parts{}, Parts{}
	each := p.share(n)
	p.each(func(topic string, partition int32, s Span) {
		from := max(s.From, s.To-each)
		if from < s.To {
			part.set(topic, partition, Span{from, s.To})
		}
		rest.set(topic, partition, Span{s.From, from})
	})
	return part, rest
}

// first returns the first records of all partitions likewise, and the rest.
func (p Parts) first(n int) (part, rest Parts) {
	part, rest = Parts{}, Parts{}
	each := p.share(n)
	p.each(func(topic string, partition int32, s Span) {
		to := min(s.To, s.From+each)
		if s.From < to {
			part.set(topic, partition, Span{s.From, to})
		}
		if to < s.To {
			rest.set(topic, partition, Span{to, s.To})
		}
	})
	return part, rest
}

// Searched are the spans of each partition that were read, by topic: ascending, with
// something unread between any two.
type Searched map[string]map[int32][]Span

// add notes that a span was read.
func (d Searched) add(topic string, partition int32, s Span) {
	if d[topic] == nil {
		d[topic] = map[int32][]Span{}
	}
	var all []Span
	for _, one := range d[topic][partition] {
		if one.From <= s.To && s.From <= one.To {
			s = Span{min(one.From, s.From), max(one.To, s.To)}
		} else {
			all = append(all, one)
		}
	}
	at, _ := slices.BinarySearchFunc(all, s, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	d[topic][partition] = slices.Insert(all, at, s)
}
