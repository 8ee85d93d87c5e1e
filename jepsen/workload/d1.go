package workload

import (
	"fmt"
	"strings"
	"time"

	"bindery/jepsen/d1"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// What the D1 workloads share: a few databases, which lie in several groups, each asked through every node.

const d1Databases = 3

func (worker *Worker) database() int { return worker.Rng.Intn(d1Databases) }

func databaseName(database int) string { return fmt.Sprintf("db%d", database) }

// d1 is the worker's client of a database through a node.
func (worker *Worker) d1(node, database int) *d1.Client {
	at := [2]int{node, database}
	if worker.d1Clients[at] == nil {
		c := worker.Cluster
		if worker.d1Clients == nil {
			worker.d1Clients = map[[2]int]*d1.Client{}
		}
		worker.d1Clients[at] = d1.New(c.Bindings(node), c.Roots, worker.databases[database], c.Token(), callTimeout)
	}
	return worker.d1Clients[at]
}

// prepareD1 makes the databases with these tables. What is said here may be said twice.
func prepareD1(schema ...d1.Statement) func(*Run) error {
	return func(run *Run) error {
		worker := run.worker(1, run.Seed)
		defer worker.close()
		for database := 0; database < d1Databases; database++ {
			uuid, err := run.Cluster.MakeDatabase(databaseName(database))
			if err != nil {
				return err
			}
			run.databases = append(run.databases, uuid)
			var failure error
			err = run.Cluster.Wait("tables of a database", 30*time.Second, func() bool {
				_, _, failure = worker.d1(1, database).Batch("", schema...)
				return failure == nil
			})
			if err != nil {
				return fmt.Errorf("%w: %v", err, failure)
			}
		}
		return nil
	}
}

// d1Read does one transaction that changes nothing and records it; make turns the reply into what is recorded. False: nothing
// was learnt.
func (worker *Worker) d1Read(f, key string, asked history.Value, node, database int, session string,
	make func(*d1.Reply) (history.Value, error), statements ...d1.Statement) (history.Value, bool) {
	index := worker.Log.Invoke(worker.process, f, key, asked)
	var seen history.Value
	reply, _, err := worker.d1(node, database).Batch(session, statements...)
	if err == nil {
		seen, err = make(reply)
	}
	if err != nil {
		if !beforeTables(session, err) {
			worker.noteBroken(err)
		}
		worker.Log.Complete(index, history.Fail, asked, err.Error())
		worker.rest()
		return nil, false
	}
	worker.Log.Complete(index, history.OK, seen, "")
	return seen, true
}

// beforeTables says whether this is a session without constraint that met a replica which has not come to the tables yet.
func beforeTables(session string, err error) bool {
	return session == d1.FirstUnconstrained && strings.Contains(err.Error(), "no such table")
}

// d1Write does one transaction that changes something and records it as it ended.
func (worker *Worker) d1Write(f, key string, asked history.Value, node, database int, session string,
	make func(*d1.Reply) (history.Value, error), statements ...d1.Statement) (history.Value, s3.Outcome) {
	index := worker.Log.Invoke(worker.process, f, key, asked)
	told := asked
	reply, outcome, err := worker.d1(node, database).Batch(session, statements...)
	if err == nil {
		if told, err = make(reply); err != nil { // it was done, but what was told of it is no answer
			outcome, told = s3.Unknown, asked
		}
	}
	worker.noteBroken(err)
	if outcome == s3.Rejected { // with what was asked: Elle looks for what certainly was not done
		worker.Log.Complete(index, history.Fail, asked, err.Error())
		worker.rest()
	} else {
		worker.complete(index, outcome, told, err)
	}
	return told, outcome
}

// until repeats what is asked after healing, when an answer must come; false, and an anomaly: none came.
func (worker *Worker) until(what string, ask func() bool) bool {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); worker.rest() {
		if ask() {
			return true
		}
	}
	worker.noteBroken(fmt.Errorf("%w: node %d: no answer in 30 s after healing: %s", s3.ErrBroken, worker.node, what))
	return false
}
