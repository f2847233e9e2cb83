package processors

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"ragstreams/codecs"
	"ragstreams/tables"
	"ragstreams/window"

	"github.com/lovoo/goka"
)

// TableConfig describes the stage of one table.
type TableConfig struct {
	Names      Names
	Table      string
	Partitions int32 // of every table
	Assemblers int32 // partitions of the events topic, which all must report
	Panes      window.Panes
	TotalsOnly bool // all partials are for NoPane: there are no windows
	// MaxSeries bounds the series of the table, MaxPerTenant those of one tenant
	// (the first dimension); every partition enforces its share. 0: no limit.
	MaxSeries    int
	MaxPerTenant int
	// Forget removes a series that has been silent this long, in milliseconds of
	// event time, with its running totals; longer than a pane and its grace, so that
	// nothing of it is open. 0: never.
	Forget int64
}

// paneHeader is the record header of closed windows that tells how long they are, in
// milliseconds.
const paneHeader = "pane_ms"

// Table merges partials into the rows of one table, closes panes as the
// watermark passes them, and sends closed panes to the windows topic: each once, and after
// those that end at some time, at least once an hour, that all of those were sent, as
// the watermark of their batch.
type Table[M any, P tables.Measure[M]] struct {
	cfg   TableConfig
	out   Output
	tasks tasks[*TableTask[M, P]]
}

// NewTable returns the stage for one session, whose output is out.
func NewTable[M any, P tables.Measure[M]](cfg TableConfig, out Output) *Table[M, P] {
	return &Table[M, P]{cfg: cfg, out: out}
}

// Graph returns the goka group.
func (t *Table[M, P]) Graph() *goka.GroupGraph {
	raw := codecs.Raw{}
	n := t.cfg.Names
	edges := []goka.Edge{
		goka.Persist(raw),
		goka.Input(goka.Stream(n.Partials(t.cfg.Table)), raw, func(ctx goka.Context, msg any) {
			if batch, ok := msg.([]byte); ok {
				t.tasks.of(n.Partials(t.cfg.Table), ctx.Partition()).Process(ctx.Offset(), batch)
			}
		}),
	}
	if !t.cfg.TotalsOnly {
		edges = append(edges, goka.Output(goka.Stream(n.Windows(t.cfg.Table)), raw))
	}
	return goka.DefineGroup(goka.Group(n.TableGroup(t.cfg.Table)), edges...)
}

// Assign starts work on a partition whose rows were restored.
func (t *Table[M, P]) Assign(partition int32, rows Rows) (*TableTask[M, P], error) {
	task := &TableTask[M, P]{
		stage: t, partition: partition, store: rows,
		rows: make(map[string]*tableRow[M, P], rows.Len()), perTenant: map[string]int{}, told: window.None,
	}
	task.windows.Reset(tables.BatchHeader{Assemble: partition})
	var err error
	rows.All(func(key string, value []byte) bool {
		err = task.load(key, value)
		return err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("table %s, partition %d: %w", t.cfg.Table, partition, err)
	}
	t.tasks.add(partition, task)
	return task, nil
}

// TableTask is the work on one partition of a table. It owns the rows between
// two commits; what others see is in the store, published with the commit.
type TableTask[M any, P tables.Measure[M]] struct {
	stage     *Table[M, P]
	partition int32
	store     Rows

	rows      map[string]*tableRow[M, P]
	perTenant map[string]int
	dirty     []*tableRow[M, P]
	deleted   []string
	progress  tables.Progress
	moved     bool // progress has news for the store
	windows   tables.BatchWriter
	told      int64 // the hour up to which the windows topic tells that panes are closed
	editor    tables.Editor[M, P]
	encoded   []byte // scratch
}

// tableRow is a row as it is in the store, and what has changed since. A hundred
// thousand rows fit into memory only as bytes, which the store has anyway.
type tableRow[M any, P tables.Measure[M]] struct {
	key    string
	row    []byte             // shared with the store, so never written to; nil: not there yet
	edit   *tables.Edit[M, P] // nil: nothing has changed
	oldest int64              // start of the oldest open pane; noneOpen
	last   int64              // of the newest pane that anything was ever added to
}

// noneOpen as the start of the oldest open pane is beyond all that a watermark closes.
const noneOpen int64 = math.MaxInt64

func (t *TableTask[M, P]) load(key string, value []byte) error {
	if key == tables.ProgressKey {
		return t.progress.Decode(value)
	}
	oldest, open, last, err := tables.OpenPanes(value)
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	t.insert(&tableRow[M, P]{key: key, row: value, oldest: orNone(oldest, open), last: last})
	return nil
}

func orNone(oldest int64, open bool) int64 {
	if open {
		return oldest
	}
	return noneOpen
}

func (t *TableTask[M, P]) insert(r *tableRow[M, P]) {
	t.rows[r.key] = r
	if tables.IsSeries(r.key) {
		t.perTenant[tenantOf(r.key)]++
	}
}

func tenantOf(key string) string {
	dims, err := tables.SplitKey(key)
	if err != nil || len(dims) == 0 {
		panic(fmt.Sprintf("BUG: series key %q: %v", key, err))
	}
	return dims[0]
}

// Process merges one batch, then takes in its watermark: it holds for what was
// sent before it. The batch is kept until the next Flush.
func (t *TableTask[M, P]) Process(offset int64, batch []byte) {
	in, err := tables.NewBatchReader(batch)
	for err == nil && in.Next() {
		err = t.add(in.Key, in.Pane, in.Body)
	}
	if err == nil {
		err = in.Err()
	}
	if h := in.Header; err == nil && h.HasWatermark && t.progress.Observe(h.Assemble, h.Watermark) {
		t.moved = true
		err = t.close()
	}
	if err != nil {
		panic(fmt.Sprintf("BUG: %s/%d at %d: %v", t.stage.cfg.Names.Partials(t.stage.cfg.Table), t.partition, offset, err))
	}
}

func (t *TableTask[M, P]) add(key []byte, pane int64, body []byte) error {
	r := t.rows[string(key)]
	if r == nil {
		r = t.newRow(string(key))
	}
	e, err := t.change(r)
	switch {
	case err != nil:
	case pane == NoPane:
		err = e.AddTotal(body)
	case t.progress.ClosedThrough != 0 && pane <= t.progress.ClosedThrough: // 0: none was closed
		err = fmt.Errorf("a partial for the pane at %d, closed through %d", pane, t.progress.ClosedThrough)
	default:
		r.oldest, r.last = min(r.oldest, pane), max(r.last, pane)
		err = e.Add(pane, body)
	}
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return nil
}

// change returns what a row is changed by until the next Flush.
func (t *TableTask[M, P]) change(r *tableRow[M, P]) (*tables.Edit[M, P], error) {
	if r.edit != nil {
		return r.edit, nil
	}
	edit, err := t.editor.Edit(r.row)
	if err == nil {
		r.edit = edit
		t.dirty = append(t.dirty, r)
	}
	return edit, err
}

// newRow makes the row of a new series, or returns the overflow row where a limit
// is reached. Readers sum the overflow rows of all partitions.
func (t *TableTask[M, P]) newRow(key string) *tableRow[M, P] {
	c := &t.stage.cfg
	n := int(c.Partitions)
	series := len(t.rows)
	if t.rows[tables.OverflowKey] != nil {
		series--
	}
	if c.MaxSeries > 0 && series >= max(1, c.MaxSeries/n) ||
		c.MaxPerTenant > 0 && t.perTenant[tenantOf(key)] >= max(1, c.MaxPerTenant/n) {
		key = tables.OverflowKey
		if r := t.rows[key]; r != nil {
			return r
		}
	}
	r := &tableRow[M, P]{key: key, oldest: noneOpen}
	t.insert(r)
	return r
}

// close closes what the watermark has passed.
func (t *TableTask[M, P]) close() error {
	c := &t.stage.cfg
	mark, ok := t.progress.Watermark(int(c.Assemblers))
	if !ok || !t.progress.Close(c.Panes.ClosedThrough(mark)) {
		return nil
	}
	through := t.progress.ClosedThrough
	for key, r := range t.rows {
		if r.oldest <= through {
			if err := t.closePanes(r, through); err != nil {
				return fmt.Errorf("row %q: %w", key, err)
			}
		}
		if c.Forget > 0 && key != tables.OverflowKey && r.last+c.Forget <= mark {
			t.forget(r)
		}
	}
	// An hour in which nothing happened ends as well, for those who sum hours up.
	if end := through + c.Panes.Size; !c.TotalsOnly && (t.windows.Len() > 0 || hourOf(end) > t.told) {
		t.told = hourOf(end)
		t.windows.MarkClosed(end)
		t.sendWindows()
	}
	return nil
}

func (t *TableTask[M, P]) closePanes(r *tableRow[M, P], through int64) error {
	e, err := t.change(r)
	if err != nil {
		return err
	}
	err = e.Close(through, func(start int64, body []byte) {
		t.windows.AddBody(r.key, start, body)
		if t.windows.Size() > maxRecord {
			t.sendWindows()
		}
	})
	r.oldest = orNone(e.Oldest())
	return err
}

func (t *TableTask[M, P]) sendWindows() {
	c := &t.stage.cfg
	t.stage.out.Send(c.Names.Windows(c.Table), t.partition, nil, bytes.Clone(t.windows.Bytes()),
		codecs.Header{Key: paneHeader, Value: strconv.AppendInt(nil, c.Panes.Size, 10)})
	t.windows.Reset(tables.BatchHeader{Assemble: t.partition})
}

func (t *TableTask[M, P]) forget(r *tableRow[M, P]) {
	delete(t.rows, r.key)
	t.deleted = append(t.deleted, r.key)
	tenant := tenantOf(r.key)
	if t.perTenant[tenant]--; t.perTenant[tenant] == 0 {
		delete(t.perTenant, tenant)
	}
}

// Flush writes every row that changed, once, and the progress row.
//
// A row is one record of the changelog, whatever its size: its running total and
// every open pane. Open are a pane, grace, max_future and what ingest may be ahead
// of its slowest partition, by default 67 panes. At worst that is 288 KiB of
// latency (14 KiB of total; 4 KiB a pane, at up to 16,000 calls a bucket), and as
// much as 450 KiB of errors, with labels at their longest. A transaction that spans
// more event time than ingest may be ahead opens more panes, until the watermark has
// followed.
func (t *TableTask[M, P]) Flush(bool) (string, error) {
	for _, key := range t.deleted {
		if t.rows[key] == nil {
			t.store.Delete(key)
		}
	}
	t.deleted = t.deleted[:0]
	for _, r := range t.dirty {
		t.encoded = r.edit.Append(t.encoded[:0])
		r.row, r.edit = bytes.Clone(t.encoded), nil
		if t.rows[r.key] == r {
			t.store.Set(r.key, r.row)
		}
	}
	clear(t.dirty)
	t.dirty = t.dirty[:0]
	if t.moved {
		t.moved = false
		t.store.Set(tables.ProgressKey, t.progress.Append(nil))
	}
	return "", nil
}

// Paused implements the transport's task: a table never waits.
func (t *TableTask[M, P]) Paused() bool { return false }

// MaxRecords implements the transport's task: one record holds no more than
// ingest took at once.
func (t *TableTask[M, P]) MaxRecords() int { return 0 }

// fullRows is how many rows that changed make a transaction full. Each is in memory
// several times until all readers have it.
const fullRows = 5_000

// Full implements the transport's task.
func (t *TableTask[M, P]) Full() bool { return len(t.dirty) >= fullRows }

// Close implements the transport's task.
func (t *TableTask[M, P]) Close() { t.stage.tasks.remove(t.partition, t) }

// Visit calls visit for every row as it stands, uncommitted changes included.
func (t *TableTask[M, P]) Visit(visit func(key string, row *tables.Row[M, P])) {
	for key, r := range t.rows {
		encoded := r.row
		if r.edit != nil {
			encoded = r.edit.Append(nil)
		}
		var row tables.Row[M, P]
		if err := row.Decode(encoded); err != nil {
			panic(fmt.Sprintf("BUG: row %q: %v", key, err))
		}
		visit(key, &row)
	}
}
