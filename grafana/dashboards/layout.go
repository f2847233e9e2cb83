package dashboards

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

// columns is the width of Grafana's grid.
const columns = 24

// grid gives panels their places, line by line, and their numbers.
type grid struct {
	id         uint32
	x, y, high uint32 // of the line that is being filled
}

// place lays rows out, each below the one before.
func place(rows []row) []dashboard.PanelOrRowPanel {
	var g grid
	var all []dashboard.PanelOrRowPanel
	for _, r := range rows {
		g.breakLine()
		head := &dashboard.RowPanel{Type: "row", Title: &r.title, Collapsed: r.closed, Panels: []dashboard.Panel{}}
		head.Id, head.GridPos = g.put(columns, 1)
		all = append(all, dashboard.PanelOrRowPanel{RowPanel: head})
		for _, p := range r.panels {
			id, at := g.put(p.width, p.height)
			p.Id, p.GridPos = &id, at
			if r.closed { // they live in the row until it is opened
				head.Panels = append(head.Panels, p.Panel)
			} else {
				all = append(all, dashboard.PanelOrRowPanel{Panel: &p.Panel})
			}
		}
	}
	return all
}

// put places the next panel to the right of the last, or on a new line.
func (g *grid) put(width, height uint32) (id uint32, at *dashboard.GridPos) {
	if g.x+width > columns {
		g.breakLine()
	}
	g.id++
	at = &dashboard.GridPos{X: g.x, Y: g.y, W: width, H: height}
	g.x, g.high = g.x+width, max(g.high, height)
	return g.id, at
}

func (g *grid) breakLine() {
	g.x, g.y, g.high = 0, g.y+g.high, 0
}
