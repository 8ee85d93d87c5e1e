package workload

import (
	"fmt"

	"bindery/jepsen/d1"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The d1-register workload: rows as compare-and-set registers. A swap is an UPDATE ... WHERE, and meta.changes says whether it
// found its row.

var registerSchema = []d1.Statement{d1.SQL("CREATE TABLE IF NOT EXISTS register (k TEXT PRIMARY KEY, v INTEGER NOT NULL)")}

func stepD1Register(worker *Worker) {
	drawn := worker.registerKey()
	database := d1RegisterDatabase(drawn)
	switch draw := worker.Rng.Intn(100); {
	case draw < 45:
		worker.d1RegisterRead(drawn, database)
	case draw < 65:
		number := worker.next()
		worker.d1RegisterWrite("write", drawn, database, number, d1.SQL(
			"INSERT INTO register VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v", drawn, int64(number)))
	case draw < 70:
		worker.d1RegisterWrite("write", drawn, database, history.Absent, d1.SQL("DELETE FROM register WHERE k = ?1", drawn))
	default:
		worker.d1RegisterSwap(drawn, database)
	}
}

// d1RegisterDatabase is the database of a key, by the key alone.
func d1RegisterDatabase(key string) int {
	sum := 0
	for _, letter := range []byte(key) {
		sum += int(letter)
	}
	return sum % d1Databases
}

func (worker *Worker) d1RegisterRead(key string, database int) (history.Number, bool) {
	seen, known := worker.d1Read("read", key, nil, worker.node, database, "", func(reply *d1.Reply) (history.Value, error) {
		if len(reply.Results[0].Rows) == 0 {
			return history.Absent, nil
		}
		number, err := reply.Results[0].Int(0, 0)
		return history.Number(number), err
	}, d1.SQL("SELECT v FROM register WHERE k = ?1", key))
	if !known {
		return history.Absent, false
	}
	return seen.(history.Number), true
}

// d1RegisterWrite runs one statement with D1's run(). A swap that changed no row was refused by what is there.
func (worker *Worker) d1RegisterWrite(f, key string, database int, value history.Value, statement d1.Statement) {
	index := worker.Log.Invoke(worker.process, f, key, value)
	reply, outcome, err := worker.d1(worker.node, database).Run(statement)
	if err == nil {
		switch changes := reply.Results[0].Changes; {
		case f == "cas" && changes == 0:
			outcome, err = s3.Refused, fmt.Errorf("no row was changed")
		case changes > 1 || (changes == 0 && value != history.Absent):
			outcome, err = s3.Unknown, fmt.Errorf("%w: %s of one row changed %d", s3.ErrBroken, f, changes)
		}
	}
	worker.noteBroken(err)
	worker.complete(index, outcome, value, err)
}

func (worker *Worker) d1RegisterSwap(key string, database int) {
	from, known := worker.d1RegisterRead(key, database)
	if !known {
		return
	}
	to := worker.next()
	statement := d1.SQL("UPDATE register SET v = ?1 WHERE k = ?2 AND v = ?3", int64(to), key, int64(from))
	if from == history.Absent {
		statement = d1.SQL("INSERT INTO register VALUES (?1, ?2) ON CONFLICT (k) DO NOTHING", key, int64(to))
	}
	worker.d1RegisterWrite("cas", key, database, history.Swap{From: from, To: to}, statement)
}

func finalD1Register(worker *Worker) {
	seen := map[string]bool{}
	for _, event := range worker.Log.Events() {
		key := event.Key
		if event.Type != history.Invoke || seen[key] {
			continue
		}
		seen[key] = true
		worker.until(key, func() bool {
			_, known := worker.d1RegisterRead(key, d1RegisterDatabase(key))
			return known
		})
	}
}
