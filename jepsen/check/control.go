package check

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"bindery/jepsen/history"
)

// thingInput is an operation on one name, or on one thing, with how it ended.
type thingInput struct {
	f     string
	thing history.Thing // as asked; of a read and of what was made: as told
	why   history.Why   // refused
	known bool          // it ended, and is not unknown
	twin  bool          // a deletion, while another one of the same thing was under way: both may be told that it was done
}

// somebody is the id of what a creation made that never told it: the first that shows and that no other made.
const somebody = "?"

// nameState is what a name stands for; Number is what lies in a bucket.
type nameState = history.Thing

// nameStep decides operations on a name. made: ids that creations have told.
func nameStep(made map[string]bool) func(state, input, output interface{}) (bool, interface{}) {
	return func(state, input, _ interface{}) (bool, interface{}) {
		now, in := state.(nameState), input.(thingInput)
		is := now.ID == in.thing.ID || (now.ID == somebody && in.thing.ID != "" && !made[in.thing.ID])
		switch {
		case in.f == "look" || in.f == "read":
			return is && now.Number == in.thing.Number, in.thing
		case in.why == history.Missing:
			return !is || now.ID == somebody, now
		case in.why == history.Taken:
			return now.ID != "", now
		case in.why == history.Filled:
			return is && now.Number != history.Absent, now
		}
		can, then := false, now
		switch in.f {
		case "create":
			can, then = now.ID == "", in.thing
			if !in.known && in.thing.ID == "" {
				then.ID = somebody
			}
		case "drop":
			can, then = is && now.Number == history.Absent, nameState{}
		case "write", "remove":
			can, then = is, in.thing
		}
		if can {
			return true, then
		}
		if in.f == "drop" && in.twin && !is {
			return true, now
		}
		return !in.known, now // of unknown outcome: it happened if it could
	}
}

// rowsState is what lies in a database.
type rowsState struct {
	number history.Number
	gone   bool
}

// rowsStep decides operations on one database, which is there from the beginning and can be deleted once. What stands in
// group 0 and what its SQL group has is not changed in one step: a deletion that anybody has begun may show here.
func rowsStep(state, input, _ interface{}) (bool, interface{}) {
	now, in := state.(rowsState), input.(thingInput)
	switch {
	case in.f == "drop" && in.why == history.Missing:
		return now.gone, now
	case in.f == "drop":
		return true, rowsState{gone: true}
	case in.why == history.Missing || (in.f == "read" && in.thing.ID == ""):
		return now.gone, now
	case in.f == "read":
		return !now.gone && now.number == in.thing.Number, now
	case now.gone:
		return !in.known, now
	}
	return true, rowsState{number: in.thing.Number}
}

func thingOperation(operation history.Operation) (porcupine.Operation, bool) {
	out := porcupine.Operation{ClientId: operation.Process, Call: operation.Time.Nanoseconds(), Return: int64(never)}
	in := thingInput{f: operation.F, known: operation.Outcome != history.Info}
	if thing, ok := operation.Value.(history.Thing); ok {
		in.thing = thing
	}
	if in.known {
		out.Return = operation.End.Time.Nanoseconds()
		switch told := operation.End.Value.(type) {
		case history.Thing:
			in.thing = told
		case history.Why:
			in.why = told
		}
	}
	if operation.Outcome == history.Fail && in.why == "" { // it was not looked at, or a read that learnt nothing
		return out, false
	}
	out.Input = in
	return out, in.known || (operation.F != "read" && operation.F != "look")
}

// twins are the deletions (by index) beside which another of the same thing, by its id, was under way.
func twins(operations []history.Operation) map[int]bool {
	drops := map[string][]history.Operation{}
	found := map[int]bool{}
	end := func(operation history.Operation) time.Duration {
		if operation.Outcome == history.Info {
			return never
		}
		return operation.End.Time
	}
	for _, operation := range operations {
		thing, ok := operation.Value.(history.Thing)
		if operation.F != "drop" || !ok || strings.HasPrefix(operation.Key, "bucket/") {
			continue
		}
		for _, other := range drops[thing.ID] {
			if end(other) > operation.Time {
				found[other.Index], found[operation.Index] = true, true
			}
		}
		drops[thing.ID] = append(drops[thing.ID], operation)
	}
	return found
}

// Things checks that each name stands for one thing at a time, or none, linearizably; that what lies in it is linearizable, too;
// and that nothing of what was deleted is ever seen again.
func Things(events []history.Event, limit time.Duration) Result {
	keys := map[string][]porcupine.Operation{}
	made := map[string]bool{}
	result := Result{Counts: map[string]int{}}
	operations := history.Operations(events)
	side := twins(operations)
	for _, operation := range operations {
		result.Counts[string(operation.Outcome)]++
		one, counts := thingOperation(operation)
		if !counts {
			continue
		}
		if in := one.Input.(thingInput); side[operation.Index] {
			in.twin = true
			one.Input = in
		}
		keys[operation.Key] = append(keys[operation.Key], one)
		in := one.Input.(thingInput)
		if in.f == "create" && in.known {
			made[in.thing.ID] = true
		}
		if in.f == "drop" && strings.HasPrefix(operation.Key, "database/") {
			rows := "rows/" + operation.Value.(history.Thing).ID
			keys[rows] = append(keys[rows], one)
		}
	}
	names := porcupine.Model{Init: func() interface{} { return nameState{} }, Step: nameStep(made)}
	rows := porcupine.Model{Init: func() interface{} { return rowsState{} }, Step: rowsStep}
	for key, operations := range keys {
		model := names
		if strings.HasPrefix(key, "rows/") {
			model = rows
		}
		switch porcupine.CheckOperationsTimeout(model, operations, limit) {
		case porcupine.Illegal:
			result.Anomalies = append(result.Anomalies, fmt.Sprintf("%s is not linearizable", key))
		case porcupine.Unknown:
			result.Unknown = append(result.Unknown, fmt.Sprintf("%s: not decided in %s", key, limit))
		}
	}
	sort.Strings(result.Anomalies)
	result.Counts["keys"] = len(keys)
	return result
}
