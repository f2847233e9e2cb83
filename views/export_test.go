package views

import "ragstreams/tables"

// SeriesKept returns how many series take memory.
func SeriesKept[M any, P tables.Measure[M]](v *View[M, P]) int {
	n := 0
	for _, p := range v.partitions {
		n += len(p.series)
	}
	return n
}

// Kept returns how many panes that have a window record, and how many hours, are kept of a
// series.
func Kept[M any, P tables.Measure[M]](v *View[M, P], partition int32, key string) (panes, hours int) {
	s := v.partitions[partition].series[key]
	return s.panes.n, s.hours.n
}
