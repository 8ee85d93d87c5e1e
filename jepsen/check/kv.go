package check

import (
	"fmt"
	"sort"
	"time"

	"bindery/jepsen/history"
)

// FinalRead is how the reads after healing, when all replicas should be equal, are called in a history.
const FinalRead = "final"

// kvWrite is one put, or a delete (value Absent), of a key.
type kvWrite struct {
	value         history.Number
	process       int
	invoked, done time.Duration // done: never, unless acknowledged
	acknowledged  bool
}

// kvKey is all that was written to a key. Each value is written once; Absent by every delete.
type kvKey struct {
	writes []kvWrite
	of     map[history.Number][]kvWrite
}

func kvKeys(operations []history.Operation) map[string]*kvKey {
	keys := map[string]*kvKey{}
	for _, operation := range operations {
		if keys[operation.Key] == nil { // before the first write there is nothing
			keys[operation.Key] = &kvKey{of: map[history.Number][]kvWrite{history.Absent: {{value: history.Absent, done: -1}}}}
		}
		value, isWrite := operation.Value.(history.Number)
		if !isWrite || operation.F != "write" || operation.Outcome == history.Fail {
			continue
		}
		write := kvWrite{value: value, process: operation.Process, invoked: operation.Time, done: never}
		if operation.Outcome == history.OK {
			write.done, write.acknowledged = operation.End.Time, true
		}
		key := keys[operation.Key]
		key.writes = append(key.writes, write)
		key.of[value] = append(key.of[value], write)
	}
	return keys
}

// superseded says whether every write that can have left this value was acknowledged before the other write began.
func (key *kvKey) superseded(value history.Number, by kvWrite) bool {
	for _, each := range key.of[value] {
		if each.done >= by.invoked {
			return false
		}
	}
	return true
}

// known says whether anybody had begun to write this value before the read ended.
func (key *kvKey) known(value history.Number, ended time.Duration) bool {
	for _, each := range key.of[value] {
		if each.invoked <= ended {
			return true
		}
	}
	return false
}

// age is for how long the value read had been superseded when the read began, 0 if it was not.
func (key *kvKey) age(value history.Number, began time.Duration) time.Duration {
	oldest := time.Duration(0)
	for _, write := range key.writes {
		if write.acknowledged && write.done < began && began-write.done > oldest && key.superseded(value, write) {
			oldest = began - write.done
		}
	}
	return oldest
}

// KV checks what an eventually consistent store promises: a read shows something that was written; through one node a
// client reads its own writes; in the end the same value is read through every node, and no write that was
// acknowledged has lost to one that was acknowledged before it began.
func KV(events []history.Event) Result {
	operations := history.Operations(events)
	keys := kvKeys(operations)
	result := Result{Counts: map[string]int{}}
	finals := map[string]map[history.Number]bool{}
	var ages []time.Duration
	for _, operation := range operations {
		result.Counts[string(operation.Outcome)]++
		if operation.Outcome != history.OK || (operation.F != "read" && operation.F != FinalRead) {
			continue
		}
		value, key := operation.End.Value.(history.Number), keys[operation.Key]
		if !key.known(value, operation.End.Time) {
			result.Anomalies = append(result.Anomalies, fmt.Sprintf("%s: %d was read, which nobody had written", operation.Key, value))
			continue
		}
		for _, write := range key.writes {
			own := write.process == operation.Process || operation.F == FinalRead
			if own && write.acknowledged && write.done < operation.Time && key.superseded(value, write) {
				result.Anomalies = append(result.Anomalies, fmt.Sprintf("%s: %s %d after %d was acknowledged, by an operation that began after %d was acknowledged",
					operation.Key, operation.F, value, write.value, value))
				break
			}
		}
		if operation.F == FinalRead {
			if finals[operation.Key] == nil {
				finals[operation.Key] = map[history.Number]bool{}
			}
			finals[operation.Key][value] = true
		} else {
			ages = append(ages, key.age(value, operation.Time))
		}
	}
	for name, values := range finals {
		if len(values) > 1 {
			result.Anomalies = append(result.Anomalies, fmt.Sprintf("%s: nodes differ in the end: %v", name, values))
		}
	}
	result.Counts["keys"] = len(keys)
	result.Notes = append(result.Notes, staleness(ages))
	return result
}

func staleness(ages []time.Duration) string {
	if len(ages) == 0 {
		return "no reads"
	}
	sort.Slice(ages, func(i, j int) bool { return ages[i] < ages[j] })
	stale := len(ages) - sort.Search(len(ages), func(i int) bool { return ages[i] > 0 })
	return fmt.Sprintf("%d of %d reads showed a value that was superseded already; for how long: p99 %s, at most %s", stale, len(ages),
		ages[len(ages)*99/100].Round(time.Millisecond), ages[len(ages)-1].Round(time.Millisecond))
}
