// Package workload is what clients do: each workload makes a history that a checker can judge.
package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bindery/jepsen/cf"
	"bindery/jepsen/check"
	"bindery/jepsen/cluster"
	"bindery/jepsen/d1"
	"bindery/jepsen/durable"
	"bindery/jepsen/etcd"
	"bindery/jepsen/history"
	"bindery/jepsen/kv"
	"bindery/jepsen/s3"
)

// Bucket that the workloads use.
const Bucket = "jepsen"

// Run is one run of a workload, shared by its workers.
type Run struct {
	Cluster *cluster.Cluster
	Log     *history.Log
	Seed    int64
	Workers int
	Workerd string // the program, for workloads that need it

	Namespace string   // of KV, where the workload has one
	databases []string // uuids of D1's, likewise
	things    controlIDs

	settled int32 // 1: somebody has seen all nodes equal, or not, in the end
	numbers int64 // the newest value
	steps   int64 // operations begun
	unknown int64 // operations without a known outcome
	process int64 // the newest process number
	mutex   sync.Mutex
	broken  []string
}

// Worker is one client: one operation at a time, of a process that is replaced after an unknown outcome.
type Worker struct {
	*Run
	Client   *s3.Client
	Rng      *rand.Rand
	process  int
	node     int
	kvClient *kv.Client

	cfClient      *cf.Client
	durableClient *durable.Client
	etcdClient    *etcd.Client
	d1Clients     map[[2]int]*d1.Client // by node and database
	session       *d1Session
	waited        time.Duration // in the end, for answers
}

// Workload of a name.
type Workload struct {
	prepare func(*Run) error
	step    func(*Worker) // one operation
	final   func(*Worker) // what is read at the end, by one worker for each node
	check   func([]history.Event, time.Duration) check.Result
}

var workloads = map[string]Workload{
	"register":  {prepareBucket, stepRegister, finalRegister, check.Registers},
	"multipart": {prepareBucket, stepMultipart, finalRegister, check.Registers},
	"list":      {prepareBucket, stepList, finalList, untimed(check.Lists)},
	"kv":        {prepareKV, stepKV, finalKV, untimed(check.KV)},
	"control":   {prepareNothing, stepControl, finalControl, check.Things},

	"d1-register": {prepareD1(registerSchema...), stepD1Register, finalD1Register, check.Registers},
	"d1-append":   {prepareD1(appendSchema...), stepD1Append, finalD1Append, untimed(check.Appends)},
	"d1-bank":     {prepareD1(bankSchema...), stepD1Bank, finalD1Bank, untimed(check.Banks)},
	"d1-sessions": {prepareD1(sessionsSchema...), stepD1Sessions, finalD1Sessions, untimed(check.Sessions)},

	"do-append":  {prepareDurable, stepDurableAppend, finalDurableRows, untimed(check.Appends)},
	"do-counter": {prepareDurable, stepDurableCounter, finalDurableRows, untimed(check.Appends)},
	"do-alarm":   {prepareDurable, stepDurableAlarm, finalDurableAlarm, untimed(check.Alarms)},
}

// peers have some of the workloads on other systems: "system/name".
var peers = map[string]Workload{
	"etcd/register": {prepareNothing, stepEtcdRegister, finalEtcdRegister, check.Registers},
	"etcd/append":   {prepareNothing, stepEtcdAppend, finalEtcdAppend, untimed(check.Appends)},

	"dqlite/register": workloads["d1-register"],
	"dqlite/append":   workloads["d1-append"],
	"dqlite/bank":     workloads["d1-bank"],
}

// Systems are the other systems, on which there are some workloads.
func Systems() []string { return []string{"etcd", "dqlite"} }

// Durable says whether a workload has Durable Objects, and so workerds.
func Durable(name string) bool { return strings.HasPrefix(name, "do-") }

func untimed(judge func([]history.Event) check.Result) func([]history.Event, time.Duration) check.Result {
	return func(events []history.Event, _ time.Duration) check.Result { return judge(events) }
}

// Names of the workloads there are.
func Names() []string {
	var names []string
	for name := range workloads {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Named finds a workload; system "": Bindery's.
func Named(system, name string) (Workload, error) {
	found, ok := workloads[name]
	names := Names()
	if system != "" {
		found, ok = peers[system+"/"+name]
		names = nil
		for each := range peers {
			names = append(names, each)
		}
		sort.Strings(names)
	}
	if !ok {
		return found, fmt.Errorf("unknown workload %q; there are %s", name, strings.Join(names, ", "))
	}
	return found, nil
}

const callTimeout = 10 * time.Second

func (run *Run) worker(node int, seed int64) *Worker {
	c := run.Cluster
	return &Worker{Run: run, Rng: rand.New(rand.NewSource(seed)),
		Client:  s3.New(c.Endpoint(node), c.Roots, c.Keys, callTimeout),
		process: int(atomic.AddInt64(&run.process, 1)), node: node}
}

func (worker *Worker) close() {
	worker.Client.Close()
	if worker.kvClient != nil {
		worker.kvClient.Close()
	}
	if worker.cfClient != nil {
		worker.cfClient.Close()
	}
	if worker.durableClient != nil {
		worker.durableClient.Close()
	}
	if worker.etcdClient != nil {
		worker.etcdClient.Close()
	}
	for _, client := range worker.d1Clients {
		client.Close()
	}
}

// Prepare makes what the workload works on.
func (run *Run) Prepare(workload Workload) error { return workload.prepare(run) }

func prepareBucket(run *Run) error {
	worker := run.worker(1, run.Seed)
	defer worker.Client.Close()
	_, outcome, err := worker.Client.Write(s3.Request{Method: "PUT", Path: Bucket})
	if outcome != s3.Done {
		return fmt.Errorf("creating the bucket: %w", err)
	}
	return nil
}

// Load runs the workers until ctx ends; worker i talks to node i modulo their number.
func (run *Run) Load(ctx context.Context, workload Workload) {
	var all sync.WaitGroup
	for i := 0; i < run.Workers; i++ {
		worker := run.worker(1+i%run.Cluster.Nodes, run.Seed+int64(i)+1)
		all.Add(1)
		go func() {
			defer all.Done()
			defer worker.close()
			for ctx.Err() == nil {
				workload.step(worker)
			}
		}()
	}
	all.Wait()
}

// Final reads everything once more, through every node. The cluster is whole again.
func (run *Run) Final(workload Workload) {
	for node := 1; node <= run.Cluster.Nodes; node++ {
		worker := run.worker(node, run.Seed)
		workload.final(worker)
		worker.close()
	}
}

// Check judges the history.
func (run *Run) Check(workload Workload, limit time.Duration) check.Result {
	result := workload.check(run.Log.Events(), limit)
	run.mutex.Lock()
	defer run.mutex.Unlock()
	result.Anomalies = append(result.Anomalies, run.broken...)
	return result
}

// next is a value that nobody has used.
func (run *Run) next() history.Number { return history.Number(atomic.AddInt64(&run.numbers, 1)) }

// noteBroken keeps answers that may never be given, whatever fails.
func (run *Run) noteBroken(err error) {
	if !errors.Is(err, s3.ErrBroken) {
		return
	}
	run.mutex.Lock()
	defer run.mutex.Unlock()
	run.broken = append(run.broken, err.Error())
}

// write does one changing operation and records it. False: it was not done, or nobody knows.
func (worker *Worker) write(f, key string, value history.Value, request s3.Request) bool {
	index := worker.Log.Invoke(worker.process, f, key, value)
	_, outcome, err := worker.Client.Write(request)
	worker.noteBroken(err)
	worker.complete(index, outcome, value, err)
	return outcome == s3.Done
}

// complete records how a changing operation ended. After an unknown outcome the worker is another process.
func (worker *Worker) complete(index int, outcome s3.Outcome, value history.Value, err error) {
	switch outcome {
	case s3.Done:
		worker.Log.Complete(index, history.OK, value, "")
	case s3.Refused:
		worker.Log.Complete(index, history.Fail, value, err.Error())
	case s3.Rejected:
		worker.Log.Complete(index, history.Fail, nil, err.Error())
		worker.rest()
	default:
		worker.Log.Complete(index, history.Info, value, err.Error())
		atomic.AddInt64(&worker.unknown, 1)
		worker.process = int(atomic.AddInt64(&worker.Run.process, 1))
		worker.rest()
	}
}

// finalPatience is how long in all a worker of the end goes on asking a node that does not answer: the cluster was whole before.
const finalPatience = 30 * time.Second

// untilKnown repeats a read of the end until it is answered. False: it was not, which is noted: what cannot be read of a healed
// cluster is lost to whoever stored it.
func (worker *Worker) untilKnown(what string, read func() bool) bool {
	for {
		begun := time.Now()
		if read() {
			return true
		}
		if worker.waited += time.Since(begun); worker.waited > finalPatience {
			worker.mutex.Lock()
			defer worker.mutex.Unlock()
			worker.broken = append(worker.broken, fmt.Sprintf("%s cannot be read through node %d, %s after healing", what, worker.node, finalPatience))
			return false
		}
	}
}

// rest keeps a worker whose node is gone from spinning.
func (worker *Worker) rest() { time.Sleep(time.Duration(20+worker.Rng.Intn(80)) * time.Millisecond) }
