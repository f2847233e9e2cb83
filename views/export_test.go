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
