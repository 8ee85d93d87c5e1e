package workload

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"bindery/jepsen/cf"
	"bindery/jepsen/d1"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The control workload: buckets, databases and KV namespaces are made, looked for and deleted under a few names, by everybody at
// once, and made again under the same names; numbers are put into buckets and databases and read there. What a name stands for
// is linearizable, and what lies in a thing is its own: nothing of one that was deleted shows in the one that follows it.

const (
	controlKeys       = 2   // names of each kind at a time
	controlGeneration = 200 // weight of the operations on one generation of names
)

// controlIDs are the newest ids that workers have heard of, for those who delete and use what others made.
type controlIDs struct {
	mutex sync.Mutex
	of    map[string]string // by name
}

func (ids *controlIDs) set(name, id string) {
	ids.mutex.Lock()
	defer ids.mutex.Unlock()
	if ids.of == nil {
		ids.of = map[string]string{}
	}
	ids.of[name] = id
}

func (ids *controlIDs) get(name string) string {
	ids.mutex.Lock()
	defer ids.mutex.Unlock()
	return ids.of[name]
}

func (worker *Worker) cf() *cf.Client {
	if worker.cfClient == nil {
		c := worker.Cluster
		worker.cfClient = cf.New(c.REST(worker.node), c.Roots, c.Account(), c.Token(), callTimeout)
	}
	return worker.cfClient
}

func prepareNothing(*Run) error { return nil }

func stepControl(worker *Worker) {
	unknown := atomic.LoadInt64(&worker.unknown) * (registerUnknown - 1)
	generation := (atomic.AddInt64(&worker.steps, 1) + unknown) / controlGeneration
	name := fmt.Sprintf("c%d-%d", generation, worker.Rng.Intn(controlKeys))
	switch worker.Rng.Intn(5) {
	case 0:
		worker.stepThing(cf.Namespace, name)
	case 1, 2:
		worker.stepThing(cf.Database, name)
	default:
		worker.stepBucket(name)
	}
}

// ---- buckets

const bucketID = "bucket" // a bucket has no id that clients see

func stepOfBucket(draw int) string {
	for _, each := range []struct {
		below int
		f     string
	}{{15, "create"}, {35, "drop"}, {50, "write"}, {65, "remove"}} {
		if draw < each.below {
			return each.f
		}
	}
	return "read"
}

func (worker *Worker) stepBucket(name string) {
	object, key := name+"/o", "bucket/"+name
	switch f := stepOfBucket(worker.Rng.Intn(100)); f {
	case "create":
		worker.bucketWrite(f, key, history.Absent, s3.Request{Method: "PUT", Path: name})
	case "drop":
		worker.bucketWrite(f, key, history.Absent, s3.Request{Method: "DELETE", Path: name})
	case "write":
		number := worker.next()
		worker.bucketWrite(f, key, number, s3.Request{Method: "PUT", Path: object, Body: worker.body(number)})
	case "remove":
		worker.bucketWrite(f, key, history.Absent, s3.Request{Method: "DELETE", Path: object})
	default:
		worker.bucketRead(key, object)
	}
}

var bucketWhy = map[string]history.Why{"404 NoSuchBucket": history.Missing, "409 BucketAlreadyOwnedByYou": history.Taken,
	"409 BucketNotEmpty": history.Filled}

func (worker *Worker) bucketWrite(f, key string, number history.Number, request s3.Request) {
	asked := history.Thing{ID: bucketID, Number: number}
	index := worker.Log.Invoke(worker.process, f, key, asked)
	_, outcome, err := worker.Client.Write(request)
	var told history.Value = asked
	if outcome == s3.Refused {
		why, known := bucketWhy[err.Error()]
		if told = why; !known {
			err = fmt.Errorf("%w: %s of %s: %v", s3.ErrBroken, f, key, err)
		}
	}
	worker.noteBroken(err)
	worker.complete(index, outcome, told, err)
}

// bucketRead records what lies in a bucket, or that there is none; false: nothing was learnt.
func (worker *Worker) bucketRead(key, object string) bool {
	index := worker.Log.Invoke(worker.process, "read", key, nil)
	reply, err := worker.Client.Read(s3.Request{Method: "GET", Path: object})
	seen := history.Thing{ID: bucketID, Number: history.Absent}
	switch {
	case err != nil:
	case reply.Status == http.StatusOK:
		var number int64
		number, err = s3.Number(reply.Body)
		seen.Number = history.Number(number)
	case reply.Code == "NoSuchBucket":
		seen.ID = ""
	case reply.Code != "NoSuchKey":
		err = fmt.Errorf("%w: GET %s: 404 %s", s3.ErrBroken, object, reply.Code)
	}
	return worker.seen(index, seen, err)
}

// seen completes a read; false: nothing was learnt.
func (worker *Worker) seen(index int, what history.Value, err error) bool {
	worker.noteBroken(err)
	if err != nil {
		worker.Log.Complete(index, history.Fail, nil, err.Error())
		worker.rest()
		return false
	}
	worker.Log.Complete(index, history.OK, what, "")
	return true
}

// ---- databases and namespaces

func (worker *Worker) stepThing(kind cf.Kind, name string) {
	key := kind.Name + "/" + name
	id := worker.things.get(key)
	switch draw := worker.Rng.Intn(100); {
	case draw < 25 || (id == "" && draw < 70):
		worker.createThing(kind, key, name)
	case draw < 45 && id != "":
		worker.dropThing(kind, key, id)
	case draw < 60 || id == "" || kind.Name != cf.Database.Name:
		worker.lookFor(kind, key, name)
	case draw < 75:
		worker.rowWrite(id)
	default:
		worker.rowRead(id)
	}
}

func (worker *Worker) createThing(kind cf.Kind, key, name string) {
	index := worker.Log.Invoke(worker.process, "create", key, nil)
	id, outcome, err := worker.cf().Create(kind, name)
	worker.noteBroken(err)
	var told history.Value
	switch outcome {
	case s3.Done:
		told = history.Thing{ID: id}
		worker.things.set(key, id)
	case s3.Refused:
		told = history.Taken
	}
	worker.complete(index, outcome, told, err)
}

func (worker *Worker) dropThing(kind cf.Kind, key, id string) {
	index := worker.Log.Invoke(worker.process, "drop", key, history.Thing{ID: id})
	outcome, err := worker.cf().Delete(kind, id)
	worker.noteBroken(err)
	var told history.Value = history.Thing{ID: id}
	if outcome == s3.Refused {
		told = history.Missing
	}
	worker.complete(index, outcome, told, err)
}

// lookFor records which id the name has; false: nothing was learnt.
func (worker *Worker) lookFor(kind cf.Kind, key, name string) bool {
	index := worker.Log.Invoke(worker.process, "look", key, nil)
	id, err := worker.cf().Find(kind, name)
	if err == nil && id != "" {
		worker.things.set(key, id)
	}
	return worker.seen(index, history.Thing{ID: id}, err)
}

// ---- what lies in a database

var rowTable = d1.SQL("CREATE TABLE IF NOT EXISTS row (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL)")

func rowsKey(id string) string { return "rows/" + id }

func (worker *Worker) rows(id string) *d1.Client {
	c := worker.Cluster
	return d1.New(c.Bindings(worker.node), c.Roots, id, c.Token(), callTimeout)
}

func (worker *Worker) rowWrite(id string) {
	asked := history.Thing{ID: id, Number: worker.next()}
	client := worker.rows(id)
	defer client.Close()
	index := worker.Log.Invoke(worker.process, "write", rowsKey(id), asked)
	_, outcome, err := client.Batch("", rowTable,
		d1.SQL("INSERT INTO row VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET n = excluded.n", int64(asked.Number)))
	var told history.Value = asked
	if d1.Missing(err) {
		outcome, told = s3.Refused, history.Missing
	} else {
		worker.noteBroken(err)
	}
	worker.complete(index, outcome, told, err)
}

// rowRead makes the table if it is not there: that changes nothing that is looked at.
func (worker *Worker) rowRead(id string) bool {
	client := worker.rows(id)
	defer client.Close()
	index := worker.Log.Invoke(worker.process, "read", rowsKey(id), nil)
	reply, _, err := client.Batch("", rowTable, d1.SQL("SELECT n FROM row"))
	seen := history.Thing{ID: id}
	if d1.Missing(err) {
		return worker.seen(index, history.Thing{}, nil)
	}
	if err == nil && len(reply.Results[1].Rows) > 0 {
		var number int64
		number, err = reply.Results[1].Int(0, 0)
		seen.Number = history.Number(number)
	}
	return worker.seen(index, seen, err)
}

// ---- the end

// finalControl looks for every name, and into everything that was ever heard of, through this worker's node.
func finalControl(worker *Worker) {
	done := map[string]bool{}
	for _, event := range worker.Log.Events() {
		if event.Process == history.NemesisProcess || done[event.Key] {
			continue
		}
		key := event.Key
		done[key] = true
		kind, name, _ := strings.Cut(key, "/")
		worker.until(key, func() bool {
			switch kind {
			case "bucket":
				return worker.bucketRead(key, name+"/o")
			case "rows":
				return worker.rowRead(name)
			case cf.Database.Name:
				return worker.lookFor(cf.Database, key, name)
			default:
				return worker.lookFor(cf.Namespace, key, name)
			}
		})
	}
}
