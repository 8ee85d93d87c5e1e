package workload

import (
	"encoding/json"
	"fmt"
	"sync/atomic"

	"bindery/jepsen/d1"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The d1-append workload: transactions of several appends and reads of lists, each one batch. Each that appends makes the
// database's sequence number one greater, each that only reads sees it: so the order they took is known, and is checked against
// the time and against what was read.

const (
	appendLists      = 4   // of a database, at a time
	appendGeneration = 150 // transactions before lists are left behind
	appendPage       = 4000
)

var appendSchema = []d1.Statement{
	d1.SQL("CREATE TABLE IF NOT EXISTS sequence (n INTEGER NOT NULL)"),
	d1.SQL("INSERT INTO sequence SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM sequence)"),
	d1.SQL("CREATE TABLE IF NOT EXISTS element (id INTEGER PRIMARY KEY, list INTEGER NOT NULL, v INTEGER NOT NULL, n INTEGER NOT NULL)"),
	d1.SQL("CREATE INDEX IF NOT EXISTS element_list ON element (list)"),
}

// drawTxn draws one to four steps; the lists' numbers are unlike in each database.
func (worker *Worker) drawTxn(database int) history.Txn {
	generation := atomic.AddInt64(&worker.steps, 1) / appendGeneration
	txn := history.Txn{Database: database}
	for count := 1 + worker.Rng.Intn(4); len(txn.Steps) < count; {
		list := (generation*d1Databases+int64(database))*appendLists + int64(worker.Rng.Intn(appendLists))
		step := history.Micro{List: history.Number(list), Append: worker.Rng.Intn(2) == 0}
		if step.Append {
			step.Value = worker.next()
		}
		txn.Steps = append(txn.Steps, step)
	}
	return txn
}

func txnStatements(txn history.Txn) []d1.Statement {
	statements := []d1.Statement{d1.SQL("SELECT n FROM sequence")}
	if txn.Writes() {
		statements = append([]d1.Statement{d1.SQL("UPDATE sequence SET n = n + 1")}, statements...)
	}
	for _, step := range txn.Steps {
		if step.Append {
			statements = append(statements, d1.SQL("INSERT INTO element (list, v, n) SELECT ?1, ?2, n FROM sequence",
				int64(step.List), int64(step.Value)))
		} else {
			statements = append(statements, d1.SQL("SELECT v FROM element WHERE list = ?1 ORDER BY id", int64(step.List)))
		}
	}
	return statements
}

// txnTold is the transaction with what the reply says of it.
func txnTold(txn history.Txn, reply *d1.Reply) (history.Value, error) {
	told := history.Txn{Database: txn.Database, Steps: append([]history.Micro(nil), txn.Steps...)}
	var err error
	results := reply.Results
	if txn.Writes() {
		results = results[1:]
	}
	if told.Sequence, err = results[0].Int(0, 0); err != nil {
		return nil, err
	}
	for i := range told.Steps {
		result := results[i+1]
		if told.Steps[i].Append {
			continue
		}
		told.Steps[i].Seen = []history.Number{}
		for row := range result.Rows {
			number, err := result.Int(row, 0)
			if err != nil {
				return nil, err
			}
			told.Steps[i].Seen = append(told.Steps[i].Seen, history.Number(number))
		}
	}
	return told, nil
}

func stepD1Append(worker *Worker) {
	database := worker.database()
	txn := worker.drawTxn(database)
	told := func(reply *d1.Reply) (history.Value, error) { return txnTold(txn, reply) }
	if txn.Writes() {
		worker.d1Write("txn", "", txn, worker.node, database, "", told, txnStatements(txn)...)
	} else {
		worker.d1Read("txn", "", txn, worker.node, database, "", told, txnStatements(txn)...)
	}
}

// finalD1Append reads every element of every database through this worker's node, page after page: nobody adds to them any more.
func finalD1Append(worker *Worker) {
	for database := 0; database < d1Databases; database++ {
		index := worker.Log.Invoke(worker.process, "rows", "", nil)
		rows, last, more := history.Rows{Database: database}, int64(0), true
		for known := true; known && more; {
			known = worker.until("elements of "+databaseName(database), func() bool {
				var err error
				more, err = worker.appendPage(database, &rows, &last)
				worker.noteBroken(err)
				return err == nil
			})
		}
		if more { // until has called it an anomaly
			worker.Log.Complete(index, history.Fail, nil, "no answer")
			continue
		}
		worker.Log.Complete(index, history.OK, rows, "")
	}
}

// appendPage reads on after the element with id last; false: that was the end.
func (worker *Worker) appendPage(database int, rows *history.Rows, last *int64) (bool, error) {
	reply, _, err := worker.d1(worker.node, database).Batch("", d1.SQL(
		"SELECT id, list, v, n FROM element WHERE id > ?1 ORDER BY id LIMIT ?2", *last, int64(appendPage)))
	if err != nil {
		return false, err
	}
	for _, each := range reply.Results[0].Rows {
		var row [4]int64
		for column := range row {
			if column >= len(each) || json.Unmarshal(each[column], &row[column]) != nil {
				return false, fmt.Errorf("%w: an element's row: %s", s3.ErrBroken, each)
			}
		}
		*last = row[0]
		rows.Rows = append(rows.Rows, history.Row{List: history.Number(row[1]), Value: history.Number(row[2]), Sequence: row[3]})
	}
	return len(reply.Results[0].Rows) == appendPage, nil
}
