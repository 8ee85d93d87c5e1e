package check

import (
	"fmt"
	"sort"
	"time"

	"bindery/jepsen/history"
)

// Alarms checks that whatever was planned and acknowledged was done once, not before it was due; that what may have been planned
// was done if it is there; that nothing else is there; and that everybody is told the same.
func Alarms(events []history.Event) Result {
	result := Result{Counts: map[string]int{}}
	tell := func(format string, words ...interface{}) {
		result.Anomalies = append(result.Anomalies, fmt.Sprintf(format, words...))
	}
	planned := map[history.Number]history.Type{}
	objectOf := map[history.Number]int{}
	finals := map[int][]map[history.Number]history.Plan{}
	for _, operation := range history.Operations(events) {
		result.Counts[string(operation.Outcome)]++
		if asked, ok := operation.Value.(history.Plans); ok && operation.F == "plan" {
			planned[asked.All[0].ID], objectOf[asked.All[0].ID] = operation.Outcome, asked.Object
		}
		if operation.F != "plans" || operation.Outcome != history.OK {
			continue
		}
		told := operation.End.Value.(history.Plans)
		shown := map[history.Number]history.Plan{}
		for _, plan := range told.All {
			shown[plan.ID] = plan
		}
		if len(shown) != len(told.All) {
			tell("object %d has %d plans under %d numbers", told.Object, len(told.All), len(shown))
		}
		finals[told.Object] = append(finals[told.Object], shown)
	}
	if len(finals) == 0 {
		tell("no object was read in the end")
		return result
	}
	var late []time.Duration
	for object, views := range finals {
		late = append(late, judgePlans(object, views, planned, objectOf, tell)...)
	}
	for id, outcome := range planned {
		if outcome != history.OK {
			continue
		}
		views := finals[objectOf[id]]
		if len(views) == 0 {
			tell("plan %d was acknowledged, and its object %d was not read in the end", id, objectOf[id])
		} else if _, there := views[0][id]; !there {
			tell("plan %d was acknowledged and is not there", id)
		}
	}
	sort.Strings(result.Anomalies)
	result.Notes = append(result.Notes, lateness(late))
	return result
}

// judgePlans looks at one object as each of those who read it were told; it returns how late alarms were.
func judgePlans(object int, views []map[history.Number]history.Plan, planned map[history.Number]history.Type,
	objectOf map[history.Number]int, tell func(string, ...interface{})) []time.Duration {
	var late []time.Duration
	for id, plan := range views[0] {
		outcome, known := planned[id]
		switch {
		case !known || outcome == history.Fail || objectOf[id] != object:
			tell("plan %d is in object %d, and was never made there, or certainly not", id, object)
		case plan.Times != 1 || plan.Ran == 0:
			tell("plan %d (%s) was done %d times", id, outcome, plan.Times)
		case plan.Ran < plan.At:
			tell("plan %d was done %d ms before it was due", id, plan.At-plan.Ran)
		default:
			late = append(late, time.Duration(plan.Ran-plan.At)*time.Millisecond)
		}
		for _, other := range views[1:] {
			if other[id] != plan {
				tell("plan %d is told as %v and as %v", id, plan, other[id])
			}
		}
	}
	for _, other := range views[1:] {
		if len(other) != len(views[0]) {
			tell("object %d has %d plans, or %d", object, len(views[0]), len(other))
		}
	}
	return late
}

func lateness(late []time.Duration) string {
	if len(late) == 0 {
		return "no alarm ran"
	}
	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	return fmt.Sprintf("%d alarms; late by p50 %s, p99 %s, at most %s", len(late), late[len(late)/2], late[len(late)*99/100], late[len(late)-1])
}
