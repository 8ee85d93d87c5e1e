package workload

import (
	"fmt"
	"sync/atomic"
	"time"

	"bindery/jepsen/cluster"
	"bindery/jepsen/durable"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The workloads of Durable Objects: transactions on a few objects, by way of two workerds, of which one has each object at a time.
//
// do-append is d1-append with objects for databases: the number is a key-value pair of the object, the elements are rows.
// do-counter is the same with a single append, or none, to a transaction: the number is the counter, and each increment leaves a
// row. do-alarm plans what alarms then do: once, not too early, and without anybody asking for the object.

const (
	durableObjects = 6
	durableTimeout = 30 * time.Second // a takeover waits for the lease of a workerd that is gone: 20 s
	planMax        = 3000             // milliseconds until what is planned is due
)

func prepareDurable(run *Run) error {
	if run.Workerd == "" {
		return fmt.Errorf("workloads of Durable Objects need --workerd")
	}
	return run.Cluster.StartWorkerds(run.Workerd)
}

func objectName(object int) string { return fmt.Sprintf("o%d", object) }

// workerd is the number of the workerd that this worker asks.
func (worker *Worker) workerd() int { return 1 + worker.node%cluster.Workerds }

func (worker *Worker) durable() *durable.Client {
	if worker.durableClient == nil {
		worker.durableClient = durable.New(worker.Cluster.WorkerdURL(worker.workerd()), durableTimeout)
	}
	return worker.durableClient
}

// ---- transactions

type durableStep struct {
	List   history.Number  `json:"list"`
	Append *history.Number `json:"append,omitempty"`
}

func durableSteps(txn history.Txn) []durableStep {
	steps := []durableStep{}
	for i := range txn.Steps {
		step := durableStep{List: txn.Steps[i].List}
		if txn.Steps[i].Append {
			step.Append = &txn.Steps[i].Value
		}
		steps = append(steps, step)
	}
	return steps
}

func (worker *Worker) durableTxn(txn history.Txn) {
	var told struct {
		N    int64
		Seen [][]history.Number
	}
	index := worker.Log.Invoke(worker.process, "txn", "", txn)
	outcome, err := worker.durable().Call(objectName(txn.Database), "txn", &told, durableSteps(txn))
	if err == nil && len(told.Seen) != len(txn.Steps) {
		outcome, err = s3.Unknown, fmt.Errorf("%w: %d answers to %d steps", s3.ErrBroken, len(told.Seen), len(txn.Steps))
	}
	worker.noteBroken(err)
	if err != nil {
		if outcome == s3.Rejected || !txn.Writes() {
			worker.Log.Complete(index, history.Fail, txn, err.Error())
			worker.rest()
		} else {
			worker.complete(index, outcome, txn, err)
		}
		return
	}
	got := history.Txn{Database: txn.Database, Sequence: told.N, Steps: append([]history.Micro(nil), txn.Steps...)}
	for i := range got.Steps {
		if !got.Steps[i].Append {
			got.Steps[i].Seen = append([]history.Number{}, told.Seen[i]...)
		}
	}
	worker.Log.Complete(index, history.OK, got, "")
}

func stepDurableAppend(worker *Worker) {
	worker.durableTxn(worker.drawTxn(worker.Rng.Intn(durableObjects)))
}

func stepDurableCounter(worker *Worker) {
	txn := history.Txn{Database: worker.Rng.Intn(durableObjects)}
	if worker.Rng.Intn(100) < 60 {
		txn.Steps = []history.Micro{{Append: true, Value: worker.next()}}
	}
	worker.durableTxn(txn)
}

// asksWorkerd says whether this worker of the end is one that asks a workerd: one for each.
func (worker *Worker) asksWorkerd() bool { return worker.node <= cluster.Workerds }

func finalDurableRows(worker *Worker) {
	if !worker.asksWorkerd() {
		return
	}
	for object := 0; object < durableObjects; object++ {
		rows := history.Rows{Database: object}
		index := worker.Log.Invoke(worker.process, "rows", "", nil)
		known := worker.untilWorkerd("rows of "+objectName(object), func() error {
			var told [][3]int64
			_, err := worker.durable().Call(objectName(object), "rows", &told)
			rows.Rows = nil
			for _, row := range told {
				rows.Rows = append(rows.Rows, history.Row{List: history.Number(row[0]), Value: history.Number(row[1]), Sequence: row[2]})
			}
			return err
		})
		if known {
			worker.Log.Complete(index, history.OK, rows, "")
		} else {
			worker.Log.Complete(index, history.Fail, nil, "no answer")
		}
	}
}

// untilWorkerd repeats what is asked after healing; the last takeover may have to wait for a lease.
func (worker *Worker) untilWorkerd(what string, ask func() error) bool {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); worker.rest() {
		if err = ask(); err == nil {
			return true
		}
		worker.noteBroken(err)
	}
	worker.noteBroken(fmt.Errorf("%w: workerd %d: no answer in a minute after healing: %s: %v", s3.ErrBroken, worker.workerd(), what, err))
	return false
}

// ---- alarms

func stepDurableAlarm(worker *Worker) {
	object := worker.Rng.Intn(durableObjects)
	plan := history.Plans{Object: object, All: []history.Plan{{ID: worker.next()}}}
	index := worker.Log.Invoke(worker.process, "plan", "", plan)
	var told struct{}
	outcome, err := worker.durable().Call(objectName(object), "plan", &told, plan.All[0].ID, worker.Rng.Intn(planMax))
	worker.noteBroken(err)
	worker.complete(index, outcome, plan, err)
	time.Sleep(time.Duration(worker.Rng.Intn(200)) * time.Millisecond) // alarms need their turns, too
}

// finalDurableAlarm waits until no record of an alarm is left, without touching an object: then every alarm must have run.
func finalDurableAlarm(worker *Worker) {
	if !worker.asksWorkerd() {
		return
	}
	if atomic.CompareAndSwapInt32(&worker.settled, 0, 1) {
		worker.awaitAlarms()
	}
	for object := 0; object < durableObjects; object++ {
		plans := history.Plans{Object: object}
		index := worker.Log.Invoke(worker.process, "plans", "", nil)
		known := worker.untilWorkerd("plans of "+objectName(object), func() error {
			var told [][4]*int64
			_, err := worker.durable().Call(objectName(object), "plans", &told)
			plans.All = nil
			for _, each := range told {
				plan := history.Plan{ID: history.Number(*each[0]), At: *each[1], Times: *each[3]}
				if each[2] != nil {
					plan.Ran = *each[2]
				}
				plans.All = append(plans.All, plan)
			}
			return err
		})
		if known {
			worker.Log.Complete(index, history.OK, plans, "")
		} else {
			worker.Log.Complete(index, history.Fail, nil, "no answer")
		}
	}
}

// alarmsWait: an alarm of a workerd that is gone waits for its lease, and for the other's next look at the records.
const alarmsWait = time.Minute

func (worker *Worker) awaitAlarms() {
	left, begun := -1, time.Now()
	for time.Since(begun) < alarmsWait {
		names, err := worker.Client.Names(cluster.WorkerdBucket, "c1/v1/alarms/")
		if left = len(names); err == nil && left == 0 {
			fmt.Printf("no alarm was left %.1f s after the cluster was whole\n", time.Since(begun).Seconds())
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	fmt.Printf("%d records of alarms were left after %s\n", left, alarmsWait)
}
