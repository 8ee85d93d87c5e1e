package workload

import (
	"sync/atomic"

	"bindery/jepsen/check"
	"bindery/jepsen/d1"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The d1-sessions workload: each worker has a session that goes from node to node with its bookmark, writes a register of its
// own and a counter of everybody's, and reads both, on whatever replica the node has.

const (
	sessionOperations    = 40 // then another begins
	sessionUnconstrained = 2  // one in so many begins on any replica
)

var sessionsSchema = []d1.Statement{
	d1.SQL("CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL)"),
	d1.SQL("INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter)"),
	d1.SQL("CREATE TABLE IF NOT EXISTS own (session INTEGER PRIMARY KEY, v INTEGER NOT NULL)"),
}

type d1Session struct {
	number   history.Number
	database int
	bookmark string
	left     int
}

func (worker *Worker) beginSession() {
	worker.session = &d1Session{number: worker.next(), database: worker.database(), bookmark: d1.FirstPrimary, left: sessionOperations}
	if worker.Rng.Intn(sessionUnconstrained) == 0 {
		worker.session.bookmark = d1.FirstUnconstrained
	}
}

func stepD1Sessions(worker *Worker) {
	if worker.session == nil || worker.session.left == 0 {
		worker.beginSession()
	}
	session := worker.session
	session.left--
	node := 1 + worker.Rng.Intn(worker.Cluster.Nodes)
	asked := history.InSession{Session: session.number, Sent: session.bookmark}
	key := databaseName(session.database)
	told := func(reply *d1.Reply) (history.Value, error) {
		got, err := sessionTold(asked, reply)
		if err == nil {
			session.bookmark = reply.Bookmark
		}
		return got, err
	}
	read := d1.SQL("SELECT v FROM own WHERE session = ?1", int64(session.number))
	if worker.Rng.Intn(100) < 70 {
		worker.d1Read("read", key, asked, node, session.database, session.bookmark, told, d1.SQL("SELECT n FROM counter"), read)
		return
	}
	asked.Value = worker.next()
	_, outcome := worker.d1Write("write", key, asked, node, session.database, session.bookmark, told,
		d1.SQL("UPDATE counter SET n = n + 1 RETURNING n"),
		d1.SQL("INSERT INTO own VALUES (?1, ?2) ON CONFLICT (session) DO UPDATE SET v = max(v, excluded.v) RETURNING v",
			int64(session.number), int64(asked.Value)))
	if outcome == s3.Unknown { // its process acts no more
		worker.session = nil
	}
}

// sessionTold is what a reply says: the counter, and the session's register if it is there.
func sessionTold(asked history.InSession, reply *d1.Reply) (history.Value, error) {
	told := history.InSession{Session: asked.Session, Sent: asked.Sent, Bookmark: reply.Bookmark,
		Replica: !reply.Results[0].ByPrimary}
	var err error
	if told.Counter, err = reply.Results[0].Int(0, 0); err != nil || len(reply.Results[1].Rows) == 0 {
		return told, err
	}
	number, err := reply.Results[1].Int(0, 0)
	told.Value = history.Number(number)
	return told, err
}

// finalD1Sessions reads the counter of every database through this worker's node, first of all as the leader has it.
func finalD1Sessions(worker *Worker) {
	for database := 0; database < d1Databases; database++ {
		asked := history.InSession{Session: history.Number(atomic.AddInt64(&worker.numbers, 1)), Sent: d1.FirstPrimary}
		worker.until("the counter of "+databaseName(database), func() bool {
			_, known := worker.d1Read(check.FinalRead, databaseName(database), asked, worker.node, database, d1.FirstPrimary,
				func(reply *d1.Reply) (history.Value, error) { return sessionTold(asked, reply) },
				d1.SQL("SELECT n FROM counter"), d1.SQL("SELECT v FROM own WHERE session = 0"))
			return known
		})
	}
}
