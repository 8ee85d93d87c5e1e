package check

import (
	"fmt"
	"time"

	"bindery/jepsen/history"
)

// element is the life of one key of a listed set.
type element struct {
	addInvoked, addDone       time.Duration // addDone: never, unless acknowledged
	removeInvoked, removeDone time.Duration
}

const never = time.Duration(1<<63 - 1)

func elements(operations []history.Operation) map[history.Number]*element {
	all := map[history.Number]*element{}
	for _, operation := range operations {
		number, ok := operation.Value.(history.Number)
		if !ok || operation.F == "list" || operation.Outcome == history.Fail {
			continue
		}
		if all[number] == nil {
			all[number] = &element{addInvoked: never, addDone: never, removeInvoked: never, removeDone: never}
		}
		done := never
		if operation.Outcome == history.OK {
			done = operation.End.Time
		}
		if operation.F == "add" {
			all[number].addInvoked, all[number].addDone = operation.Time, done
		} else {
			all[number].removeInvoked, all[number].removeDone = operation.Time, done
		}
	}
	return all
}

// Lists checks that every list holds each key whose add was acknowledged before the list began, unless its removal
// was asked for before the list ended; and none that was removed before, or never added. Each key is added and
// removed once at most.
func Lists(events []history.Event) Result {
	operations := history.Operations(events)
	all := elements(operations)
	result := Result{Counts: map[string]int{}}
	for _, operation := range operations {
		result.Counts[string(operation.Outcome)]++
		if operation.F != "list" || operation.Outcome != history.OK {
			continue
		}
		result.Counts["lists"]++
		began, ended := operation.Time, operation.End.Time
		shown := map[history.Number]bool{}
		for _, number := range operation.End.Value.(history.Set) {
			shown[number] = true
			if life := all[number]; life == nil || life.addInvoked > ended {
				result.Anomalies = append(result.Anomalies, fmt.Sprintf("list %d shows %d, which was not added", operation.Index, number))
			} else if life.removeDone < began {
				result.Anomalies = append(result.Anomalies, fmt.Sprintf("list %d shows %d, which was removed", operation.Index, number))
			}
		}
		for number, life := range all {
			if life.addDone < began && life.removeInvoked > ended && !shown[number] {
				result.Anomalies = append(result.Anomalies, fmt.Sprintf("list %d lacks %d, which was acknowledged before it", operation.Index, number))
			}
		}
	}
	return result
}
