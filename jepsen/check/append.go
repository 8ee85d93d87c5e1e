package check

import (
	"fmt"
	"sort"
	"time"

	"bindery/jepsen/history"
)

// appended is one transaction of a database, with the place it took.
type appended struct {
	history.Operation
	txn      history.Txn // as told; as asked, where nothing was told
	sequence int64       // of those with an unknown outcome: found in the rows, 0 if it left none
}

func (each *appended) ended() time.Duration {
	if each.Outcome == history.OK {
		return each.End.Time
	}
	return never
}

// appendJudge judges one database.
type appendJudge struct {
	name      string
	all       []*appended
	byValue   map[history.Number]*appended
	finals    []history.Rows
	anomalies []string
}

func (judge *appendJudge) tell(format string, words ...interface{}) {
	judge.anomalies = append(judge.anomalies, judge.name+": "+fmt.Sprintf(format, words...))
}

// Appends checks transactions of appends and reads for strict serializability. The database numbers them: whoever appends made
// the number one greater, so the order of all that committed is known, and what has to be shown is that it is an order for them:
// no number is taken twice or by nobody, in this order no transaction comes after one that began when it had ended, and every
// read shows just what was appended before. Which numbers those without a known outcome took is read off the rows in the end,
// which bear them; each transaction's rows must be all there, under one number, or none.
func Appends(events []history.Event) Result {
	result := Result{Counts: map[string]int{}}
	judges := map[int]*appendJudge{}
	of := func(database int) *appendJudge {
		if judges[database] == nil {
			judges[database] = &appendJudge{name: fmt.Sprintf("database %d", database), byValue: map[history.Number]*appended{}}
		}
		return judges[database]
	}
	for _, operation := range history.Operations(events) {
		result.Counts[string(operation.Outcome)]++
		if operation.Outcome == history.OK {
			if rows, final := operation.End.Value.(history.Rows); final {
				of(rows.Database).finals = append(of(rows.Database).finals, rows)
				continue
			}
		}
		if txn, ok := operation.Value.(history.Txn); ok {
			of(txn.Database).add(operation, txn)
		}
	}
	for _, judge := range judges {
		judge.run()
		result.Anomalies = append(result.Anomalies, judge.anomalies...)
	}
	sort.Strings(result.Anomalies)
	return result
}

func (judge *appendJudge) add(operation history.Operation, txn history.Txn) {
	each := &appended{Operation: operation, txn: txn}
	if operation.Outcome == history.OK {
		each.txn = operation.End.Value.(history.Txn)
		each.sequence = each.txn.Sequence
	}
	for _, step := range txn.Steps {
		if step.Append {
			judge.byValue[step.Value] = each
		}
	}
	judge.all = append(judge.all, each)
}

func (judge *appendJudge) run() {
	if len(judge.finals) == 0 {
		judge.tell("its rows were never read in the end")
		return
	}
	for _, rows := range judge.finals {
		judge.rows(rows)
	}
	order := judge.order()
	judge.time(order)
	judge.contents(order)
}

// rows are what a final read showed: it numbers the unknown ones, and must agree with what is known.
func (judge *appendJudge) rows(rows history.Rows) {
	shown := map[history.Number]bool{}
	count := map[*appended]int{}
	last := int64(0)
	for _, row := range rows.Rows {
		by := judge.byValue[row.Value]
		switch {
		case by == nil || by.Outcome == history.Fail:
			judge.tell("value %d lies in the rows, and was never appended or certainly not", row.Value)
			continue
		case shown[row.Value]:
			judge.tell("value %d lies in the rows twice", row.Value)
		case by.sequence != 0 && by.sequence != row.Sequence:
			judge.tell("the transaction of value %d is number %d and %d", row.Value, by.sequence, row.Sequence)
		case row.Sequence < last:
			judge.tell("number %d lies in the rows after %d", row.Sequence, last)
		}
		shown[row.Value], last = true, row.Sequence
		by.sequence = row.Sequence
		count[by]++
	}
	for _, each := range judge.all {
		wanted := 0
		for _, step := range each.txn.Steps {
			if step.Append {
				wanted++
			}
		}
		if got := count[each]; got != wanted && (each.Outcome == history.OK || (each.Outcome == history.Info && got != 0)) {
			judge.tell("of the transaction at %d (%s) %d of %d rows are there in the end", each.Index, each.Outcome, got, wanted)
		}
	}
}

// order is the one that the numbers say: each that appended, and after it those that saw its number.
func (judge *appendJudge) order() []*appended {
	var order []*appended
	for _, each := range judge.all {
		if each.sequence != 0 && each.Outcome != history.Fail {
			order = append(order, each)
		}
	}
	sort.SliceStable(order, func(i, j int) bool {
		if order[i].sequence != order[j].sequence {
			return order[i].sequence < order[j].sequence
		}
		return order[i].txn.Writes() && !order[j].txn.Writes()
	})
	next := int64(2) // a database's number begins with 1
	for _, each := range order {
		switch {
		case each.txn.Writes() && each.sequence == next:
			next++
		case each.txn.Writes() && each.sequence < next:
			judge.tell("number %d was taken twice, or by one that may not have it (at %d)", each.sequence, each.Index)
		case each.sequence >= next: // whoever took it left no rows, or reads what never was
			judge.tell("number %d was taken by nobody (seen at %d)", next, each.Index)
			next = each.sequence + 1
		}
	}
	return order
}

// time: none may come after one that began when it had ended. Those that read under one number have no order among them.
func (judge *appendJudge) time(order []*appended) {
	var latest, readers *appended // that began last, of all before; of those that read under this number
	for _, each := range order {
		if readers != nil && (each.txn.Writes() || readers.sequence != each.sequence) {
			latest, readers = later(latest, readers), nil
		}
		if latest != nil && each.ended() < latest.Time {
			judge.tell("the transaction at %d ended before that at %d began, and comes after it: number %d after %d", each.Index,
				latest.Index, each.sequence, latest.sequence)
		}
		if each.txn.Writes() {
			latest = later(latest, each)
		} else {
			readers = later(readers, each)
		}
	}
}

func later(one, other *appended) *appended {
	if one == nil || other.Time > one.Time {
		return other
	}
	return one
}

// contents: every read shows what the order says.
func (judge *appendJudge) contents(order []*appended) {
	lists := map[history.Number][]history.Number{}
	for _, each := range order {
		for _, step := range each.txn.Steps {
			if step.Append {
				lists[step.List] = append(lists[step.List], step.Value)
			} else if each.Outcome == history.OK && !same(step.Seen, lists[step.List]) {
				judge.tell("the transaction at %d, number %d, read list %d as %v; it is %v", each.Index, each.sequence, step.List,
					step.Seen, lists[step.List])
			}
		}
	}
}

func same(one, other []history.Number) bool {
	if len(one) != len(other) {
		return false
	}
	for i := range one {
		if one[i] != other[i] {
			return false
		}
	}
	return true
}
