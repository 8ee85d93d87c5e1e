package history

import (
	"fmt"
	"strings"
)

// Plan is something that an object should do once, by an alarm.
type Plan struct {
	ID    Number
	At    int64 // when it is due, in milliseconds of the wall clock
	Ran   int64 // when it was done; 0: not yet
	Times int64 // how often
}

// Plans are all of an object.
type Plans struct {
	Object int
	All    []Plan
}

// EDN writes [id at ran times] of each.
func (plans Plans) EDN() string {
	words := make([]string, len(plans.All))
	for i, plan := range plans.All {
		words[i] = fmt.Sprintf("[%d %d %d %d]", plan.ID, plan.At, plan.Ran, plan.Times)
	}
	return "[" + strings.Join(words, " ") + "]"
}
