package workload

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The register workload: a few keys at a time, each a register whose value is a number inside the object's body;
// conditional puts are compare-and-set over the ETag. Keys are left behind after some operations, so that each
// history stays short enough to be decided.

const (
	registerKeys       = 4
	registerGeneration = 240 // weight of the operations on one generation of keys
	registerUnknown    = 20  // weight of an unknown outcome: it can have happened at any time since, and costs the checker most
	registerSizeMax    = 200 << 10
)

// registerKey draws a key of the present generation.
func (worker *Worker) registerKey() string {
	unknown := atomic.LoadInt64(&worker.unknown) * (registerUnknown - 1)
	generation := (atomic.AddInt64(&worker.steps, 1) + unknown) / registerGeneration
	return fmt.Sprintf("r%d-%d", generation, worker.Rng.Intn(registerKeys))
}

// size of a body: most are kept inline, some are large and go to the body store.
func (worker *Worker) size(number history.Number) int {
	if number%4 != 0 {
		return int(number % 300)
	}
	return 60<<10 + int(number*7919)%registerSizeMax
}

func (worker *Worker) body(number history.Number) []byte {
	return s3.Body(int64(number), worker.size(number))
}

func (worker *Worker) put(f, key string, value history.Value, number history.Number, condition map[string]string) {
	worker.write(f, key, value, s3.Request{Method: "PUT", Path: Bucket + "/" + key, Header: condition,
		Body: worker.body(number)})
}

func stepRegister(worker *Worker) {
	key := worker.registerKey()
	switch draw := worker.Rng.Intn(100); {
	case draw < 45:
		worker.read(key)
	case draw < 65:
		number := worker.next()
		worker.put("write", key, number, number, nil)
	case draw < 70:
		worker.next()
		worker.write("write", key, history.Absent, s3.Request{Method: "DELETE", Path: Bucket + "/" + key})
	default:
		worker.swap(key)
	}
}

// swap reads and puts only if nothing changed since.
func (worker *Worker) swap(key string) {
	from, etag, known := worker.read(key)
	if !known {
		return
	}
	number := worker.next()
	condition := map[string]string{"If-None-Match": "*"}
	if from != history.Absent {
		condition = map[string]string{"If-Match": `"` + etag + `"`}
	}
	worker.put("cas", key, history.Swap{From: from, To: number}, number, condition)
}

// read records a read of an object and its ETag; false: nothing was learnt.
func (worker *Worker) read(key string) (history.Number, string, bool) {
	index := worker.Log.Invoke(worker.process, "read", key, nil)
	reply, err := worker.Client.Read(s3.Request{Method: "GET", Path: Bucket + "/" + key})
	if err == nil && reply.Status == http.StatusNotFound {
		worker.Log.Complete(index, history.OK, history.Absent, "")
		return history.Absent, "", true
	}
	var number int64
	if err == nil {
		number, err = s3.Number(reply.Body)
	}
	if err != nil {
		worker.noteBroken(err)
		worker.Log.Complete(index, history.Fail, nil, err.Error())
		worker.rest()
		return history.Absent, "", false
	}
	worker.Log.Complete(index, history.OK, history.Number(number), "")
	return history.Number(number), reply.ETag, true
}

// finalRegister reads every key through this worker's node until each read is answered.
func finalRegister(worker *Worker) {
	seen := map[string]bool{}
	for _, event := range worker.Log.Events() {
		if event.Type != history.Invoke || seen[event.Key] {
			continue
		}
		seen[event.Key] = true
		if !worker.untilKnown(event.Key, func() bool { _, _, known := worker.read(event.Key); return known }) {
			return
		}
	}
}
