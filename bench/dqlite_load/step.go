package main

import (
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
)

var opRows = map[string]int64{"scan": scanRows, "sum": sumRows, "batch": batchRows, "fill": batchRows}

// step makes a client's request number count: on the next of its databases, about a row that is drawn; of a fill, the
// next thousand rows of the client's share.
func (w *worker) step(number, count int) (bool, error) {
	if *op == "fill" {
		each := *rows / batchRows
		at := int64(number) + int64(count)*int64(*clients)
		at, database := at%each, int(at/each)
		if database >= *databases {
			return false, nil
		}
		return true, w.write(database, at*batchRows+1)
	}
	database := w.mine[count%len(w.mine)]
	most := *rows
	if *op == "scan" || *op == "sum" {
		most -= opRows[*op] - 1
	}
	id := 1 + w.random.Int63n(most)
	if !writes() {
		return true, insist(func() error { return w.sessions[database].read(id) })
	}
	return true, w.write(database, id)
}

func (w *worker) write(database int, id int64) error {
	s := &w.sessions[database]
	if *turns {
		shared[database].turn.Lock()
		defer shared[database].turn.Unlock()
		s = &shared[database].writer
	}
	err := insist(func() error { return s.write(id) })
	if err == nil {
		acknowledged := int64(1)
		if *op == "batch" || *op == "fill" {
			acknowledged = batchRows
		}
		atomic.AddInt64(&shared[database].acknowledged, acknowledged)
	}
	return err
}

func (s *session) read(id int64) error {
	switch *op {
	case "read":
		var k int64
		var v string
		err := s.statement.QueryRowContext(ctx, id).Scan(&k, &v)
		if err == nil && (k < id || v != value(id)) {
			err = fmt.Errorf("row %d: wrong answer", id)
		}
		return err
	case "sum":
		var rows, ids, bytes int64
		err := s.statement.QueryRowContext(ctx, id, id+sumRows-1).Scan(&rows, &ids, &bytes)
		if err == nil && (rows != sumRows || ids != sumRows*id+sumRows*(sumRows-1)/2 || bytes != sumRows*valueBytes) {
			err = fmt.Errorf("sum from row %d: wrong answer", id)
		}
		return err
	}
	return s.scan(id)
}

func (s *session) scan(id int64) error {
	found, err := s.statement.QueryContext(ctx, id)
	if err != nil {
		return err
	}
	defer found.Close()
	at := id
	for ; found.Next(); at++ {
		var row, k int64
		var v string
		if err := found.Scan(&row, &k, &v); err != nil {
			return err
		}
		if row != at || k < at || v != value(at) {
			return fmt.Errorf("row %d of a scan: wrong answer", at)
		}
	}
	if found.Err() == nil && at != id+scanRows {
		return fmt.Errorf("scan from row %d: %d rows", id, at-id)
	}
	return found.Err()
}

func (s *session) write(id int64) error {
	switch *op {
	case "update":
		result, err := s.statement.ExecContext(ctx, id)
		return s.check(result, err, 1, false)
	case "insert":
		result, err := s.statement.ExecContext(ctx, id, value(id))
		return s.check(result, err, 1, true)
	}
	if *op == "fill" {
		return s.literal("INSERT INTO t (id, k, v) VALUES ", id, true)
	}
	return s.literal("INSERT INTO w (k, v) VALUES ", id, false)
}

// check: so many rows changed, and if they were inserted, ids that rise.
func (s *session) check(result sql.Result, err error, rows int64, inserted bool) error {
	if err != nil {
		return err
	}
	changed, _ := result.RowsAffected()
	last, _ := result.LastInsertId()
	if changed != rows || (inserted && last <= s.lastID) {
		return fmt.Errorf("%d rows changed instead of %d, the last %d after %d", changed, rows, last, s.lastID)
	}
	if inserted {
		s.lastID = last
	}
	return nil
}

// literal inserts a thousand rows with one statement that has them in its text: at most 255 could be parameters, and a
// statement for each row costs a round trip for each (ten times slower).
func (s *session) literal(insert string, id int64, withID bool) error {
	var text strings.Builder
	text.WriteString(insert)
	for i := id; i < id+batchRows; i++ {
		if i > id {
			text.WriteByte(',')
		}
		if withID {
			fmt.Fprintf(&text, "(%d,%d,'%s')", i, i, value(i))
		} else {
			fmt.Fprintf(&text, "(%d,'%s')", i, value(i))
		}
	}
	result, err := s.conn.ExecContext(ctx, text.String())
	return s.check(result, err, batchRows, false)
}
