// Package check decides whether a history is one that the promises allow.
package check

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"bindery/jepsen/history"
)

// Result of a check.
type Result struct {
	Anomalies []string
	Unknown   []string // what could not be decided in time: not a pass
	Counts    map[string]int
	Notes     []string // what was measured
}

type registerInput struct {
	f        string
	from, to history.Number
}

// A register per key, history.Absent when there is no object. Only operations whose outcome restricts something
// are given to the model: failed ones are left out, but for a swap that the state stood against (its completion
// has a value), which says that the value was not `from` and is a reading of its own kind.
var registerModel = porcupine.Model{
	Init: func() interface{} { return history.Absent },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		in, now := input.(registerInput), state.(history.Number)
		switch in.f {
		case "read":
			return now == output.(history.Number), now
		case "write":
			return true, in.to
		case "cas":
			return now == in.from, in.to
		case "cas-refused":
			return now != in.from, now
		default: // an operation with an unknown outcome: it happened if it could
			if in.f == "cas-unknown" && now != in.from {
				return true, now
			}
			return true, in.to
		}
	},
	DescribeOperation: func(input, output interface{}) string {
		in := input.(registerInput)
		return fmt.Sprintf("%s %v %v -> %v", in.f, in.from, in.to, output)
	},
}

func registerOperation(operation history.Operation) (porcupine.Operation, bool) {
	out := porcupine.Operation{ClientId: operation.Process, Call: operation.Time.Nanoseconds(),
		Return: math.MaxInt64, Output: history.Absent}
	if operation.End != nil && operation.Outcome != history.Info {
		out.Return = operation.End.Time.Nanoseconds()
	}
	in := registerInput{f: operation.F}
	switch value := operation.Value.(type) {
	case history.Swap:
		in.from, in.to = value.From, value.To
	case history.Number:
		in.to = value
	}
	switch {
	case operation.F == "read":
		if operation.Outcome != history.OK {
			return out, false
		}
		out.Output = operation.End.Value.(history.Number)
	case operation.Outcome == history.Fail && operation.F == "cas" && operation.End.Value != nil:
		in.f = "cas-refused"
	case operation.Outcome == history.Fail:
		return out, false
	case operation.Outcome == history.Info:
		in.f += "-unknown"
	}
	out.Input = in
	return out, true
}

// Registers checks every key's register for linearizability.
func Registers(events []history.Event, limit time.Duration) Result {
	keys := map[string][]porcupine.Operation{}
	result := Result{Counts: map[string]int{}}
	for _, operation := range history.Operations(events) {
		result.Counts[string(operation.Outcome)]++
		if one, counts := registerOperation(operation); counts {
			keys[operation.Key] = append(keys[operation.Key], one)
		}
	}
	for key, operations := range keys {
		switch porcupine.CheckOperationsTimeout(registerModel, operations, limit) {
		case porcupine.Illegal:
			result.Anomalies = append(result.Anomalies, fmt.Sprintf("register %s is not linearizable", key))
		case porcupine.Unknown:
			result.Unknown = append(result.Unknown, fmt.Sprintf("register %s: not decided in %s", key, limit))
		}
	}
	result.Counts["keys"] = len(keys)
	return result
}
