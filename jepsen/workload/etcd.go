package workload

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"bindery/jepsen/cluster"
	"bindery/jepsen/etcd"
	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The same registers and lists on etcd, whose revision is the number that transactions take: each that changes something makes it
// greater by one.

func (worker *Worker) etcd() *etcd.Client {
	if worker.etcdClient == nil {
		worker.etcdClient = etcd.New(cluster.EtcdURL(worker.node), callTimeout)
	}
	return worker.etcdClient
}

func stepEtcdRegister(worker *Worker) {
	key := worker.registerKey()
	switch draw := worker.Rng.Intn(100); {
	case draw < 45:
		worker.etcdRead(key)
	case draw < 65:
		number := worker.next()
		worker.etcdWrite("write", key, number, nil, etcd.Step{Key: key, Value: textOf(number)})
	case draw < 70:
		worker.etcdWrite("write", key, history.Absent, nil, etcd.Step{Key: key, Delete: true})
	default:
		from, known := worker.etcdRead(key)
		if !known {
			return
		}
		condition := etcd.If{Key: key}
		if from != history.Absent {
			condition.Value = textOf(from)
		}
		to := worker.next()
		worker.etcdWrite("cas", key, history.Swap{From: from, To: to}, []etcd.If{condition}, etcd.Step{Key: key, Value: textOf(to)})
	}
}

func (worker *Worker) etcdWrite(f, key string, value history.Value, conditions []etcd.If, step etcd.Step) {
	index := worker.Log.Invoke(worker.process, f, key, value)
	reply, outcome, err := worker.etcd().Txn(conditions, step)
	if err == nil && !reply.Done {
		outcome, err = s3.Refused, fmt.Errorf("the condition did not hold")
	}
	worker.noteBroken(err)
	worker.complete(index, outcome, value, err)
}

// etcdRead records a read; false: nothing was learnt.
func (worker *Worker) etcdRead(key string) (history.Number, bool) {
	index := worker.Log.Invoke(worker.process, "read", key, nil)
	reply, _, err := worker.etcd().Txn(nil, etcd.Step{Key: key, Read: true})
	number := history.Absent
	if err == nil {
		for _, pair := range reply.Pairs[0] {
			if pair.Key == key { // others may begin with it
				number, err = numberOf(pair.Value)
			}
		}
	}
	if !worker.seen(index, number, err) {
		return history.Absent, false
	}
	return number, true
}

func finalEtcdRegister(worker *Worker) {
	done := map[string]bool{}
	for _, event := range worker.Log.Events() {
		if event.Type == history.Invoke && !done[event.Key] {
			done[event.Key] = true
			worker.until(event.Key, func() bool {
				_, known := worker.etcdRead(event.Key)
				return known
			})
		}
	}
}

func textOf(number history.Number) []byte { return []byte(fmt.Sprint(int64(number))) }

func numberOf(text []byte) (history.Number, error) {
	number, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		err = fmt.Errorf("%w: value %q", s3.ErrBroken, text)
	}
	return history.Number(number), err
}

// ---- lists: an element is a key of its own, whose revision of creation is its transaction's number

const etcdLists = "l/"

func etcdList(list history.Number) string { return fmt.Sprintf("%s%d/", etcdLists, list) }

func stepEtcdAppend(worker *Worker) {
	txn := worker.drawTxn(0)
	var steps []etcd.Step
	for _, step := range txn.Steps {
		if step.Append { // the values of a transaction rise, and so do its keys
			steps = append(steps, etcd.Step{Key: fmt.Sprintf("%s%019d", etcdList(step.List), step.Value), Value: textOf(step.Value)})
		} else {
			steps = append(steps, etcd.Step{Key: etcdList(step.List), Read: true})
		}
	}
	index := worker.Log.Invoke(worker.process, "txn", "", txn)
	reply, outcome, err := worker.etcd().Txn(nil, steps...)
	told := history.Txn{Steps: append([]history.Micro(nil), txn.Steps...)}
	if err == nil {
		told.Sequence, err = reply.Revision, fillReads(told.Steps, reply.Pairs)
	}
	worker.noteBroken(err)
	switch {
	case err == nil:
		worker.Log.Complete(index, history.OK, told, "")
	case !txn.Writes():
		worker.Log.Complete(index, history.Fail, txn, err.Error())
		worker.rest()
	default:
		worker.complete(index, outcome, txn, err)
	}
}

// fillReads puts what was read into the steps that read.
func fillReads(steps []history.Micro, read [][]etcd.Pair) error {
	at := 0
	for i := range steps {
		if steps[i].Append {
			continue
		}
		if at == len(read) {
			return fmt.Errorf("%w: fewer answers than reads", s3.ErrBroken)
		}
		steps[i].Seen = []history.Number{}
		for _, pair := range read[at] {
			number, err := numberOf(pair.Value)
			if err != nil {
				return err
			}
			steps[i].Seen = append(steps[i].Seen, number)
		}
		at++
	}
	return nil
}

func finalEtcdAppend(worker *Worker) {
	index := worker.Log.Invoke(worker.process, "rows", "", nil)
	var rows history.Rows
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); worker.rest() {
		reply, _, err := worker.etcd().Txn(nil, etcd.Step{Key: etcdLists, Read: true})
		if err == nil {
			rows, err = etcdRows(reply.Pairs[0])
		}
		if err == nil {
			worker.Log.Complete(index, history.OK, rows, "")
			return
		}
		worker.noteBroken(err)
	}
	worker.Log.Complete(index, history.Fail, nil, "no answer")
}

func etcdRows(pairs []etcd.Pair) (history.Rows, error) {
	rows := history.Rows{}
	for _, pair := range pairs {
		list, err := numberOf([]byte(strings.Split(pair.Key, "/")[1]))
		if err != nil {
			return rows, err
		}
		value, err := numberOf(pair.Value)
		if err != nil {
			return rows, err
		}
		rows.Rows = append(rows.Rows, history.Row{List: list, Value: value, Sequence: pair.Created})
	}
	return rows, nil
}
