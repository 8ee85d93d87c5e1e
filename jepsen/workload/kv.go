package workload

import (
	"fmt"
	"sync/atomic"
	"time"

	"bindery/jepsen/check"
	"bindery/jepsen/history"
	"bindery/jepsen/kv"
	"bindery/jepsen/s3"
)

// The KV workload: a few dozen keys that everybody puts, deletes and reads through their own node; in the end, when all is
// healed, every node must show the same, and nothing that was acknowledged may have lost to what came before.

const (
	kvKeysCount  = 40
	kvLargeEvery = 16 // values that travel in pieces
)

// kvConvergence: replicas are equal within a minute, and a node that is none may show for one more what it has read before, absences
// too (cacheTtl's default, ADR 0090).
const kvConvergence = 2 * time.Minute

func (worker *Worker) kv() *kv.Client {
	if worker.kvClient == nil {
		c := worker.Cluster
		worker.kvClient = kv.New(c.Bindings(worker.node), c.Roots, worker.Namespace, c.Token(), callTimeout)
	}
	return worker.kvClient
}

func prepareKV(run *Run) error {
	var err error
	run.Namespace, err = run.Cluster.MakeNamespace("jepsen")
	return err
}

func (worker *Worker) kvKey() string { return fmt.Sprintf("k/%d ü", worker.Rng.Intn(kvKeysCount)) }

func stepKV(worker *Worker) {
	key := worker.kvKey()
	switch draw := worker.Rng.Intn(100); {
	case draw < 50:
		worker.kvRead("read", key)
	case draw < 90:
		number := worker.next()
		size := int(number % 300)
		if number%kvLargeEvery == 0 {
			size = 256<<10 + int(number*7919)%(400<<10)
		}
		worker.kvWrite(key, number, s3.Body(int64(number), size))
	case draw < 99:
		worker.kvWrite(key, history.Absent, nil)
	default:
		if _, err := worker.kv().List("k/", 7); err != nil {
			worker.noteBroken(err)
			worker.rest()
		}
	}
}

func (worker *Worker) kvWrite(key string, value history.Number, body []byte) {
	index := worker.Log.Invoke(worker.process, "write", key, value)
	outcome, err := worker.kv().Write(key, body)
	worker.noteBroken(err)
	worker.complete(index, outcome, value, err)
}

// kvRead records a read; false: nothing was learnt.
func (worker *Worker) kvRead(f, key string) (history.Number, bool) {
	index := worker.Log.Invoke(worker.process, f, key, nil)
	body, found, err := worker.kv().Read(key)
	number := int64(history.Absent)
	if err == nil && found {
		number, err = s3.Number(body)
	}
	if err != nil {
		worker.noteBroken(err)
		worker.Log.Complete(index, history.Fail, nil, err.Error())
		worker.rest()
		return history.Absent, false
	}
	worker.Log.Complete(index, history.OK, history.Number(number), "")
	return history.Number(number), true
}

// finalKV waits, once, until all nodes show the same, then reads everything through this worker's node.
func finalKV(worker *Worker) {
	if atomic.CompareAndSwapInt32(&worker.settled, 0, 1) {
		worker.converge()
	}
	for number := 0; number < kvKeysCount; number++ {
		key := fmt.Sprintf("k/%d ü", number)
		if !worker.untilKnown(key, func() bool { _, known := worker.kvRead(check.FinalRead, key); return known }) {
			return
		}
	}
}

func (worker *Worker) converge() {
	var all []*Worker
	for node := 1; node <= worker.Cluster.Nodes; node++ {
		each := worker.Run.worker(node, worker.Seed)
		defer each.kv().Close()
		all = append(all, each)
	}
	begun := time.Now()
	for time.Since(begun) < kvConvergence {
		if equal(all) {
			fmt.Printf("equal on all nodes %.1f s after the cluster was whole\n", time.Since(begun).Seconds())
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	worker.mutex.Lock()
	defer worker.mutex.Unlock()
	worker.broken = append(worker.broken, fmt.Sprintf("nodes still differ %s after healing", kvConvergence))
}

func equal(workers []*Worker) bool {
	for number := 0; number < kvKeysCount; number++ {
		key, first := fmt.Sprintf("k/%d ü", number), ""
		for i, worker := range workers {
			body, found, err := worker.kv().Read(key)
			shown := fmt.Sprintf("%v %s", found, body)
			if err != nil || (i > 0 && shown != first) {
				return false
			}
			first = shown
		}
	}
	return true
}
