package check

import (
	"testing"
	"time"

	"bindery/jepsen/history"
)

// line is one operation of a written history: begun and ended at these times; end 0: never.
type line struct {
	f       string
	value   history.Value
	begin   int
	end     int
	outcome history.Type
	got     history.Value
}

func events(lines ...line) []history.Event {
	var out []history.Event
	for process, l := range lines {
		begin := history.Event{Index: len(out), Time: time.Duration(l.begin), Type: history.Invoke, Process: process,
			F: l.f, Key: "k", Value: l.value, Pair: -1}
		out = append(out, begin)
		if l.outcome != "" {
			out[begin.Index].Pair = len(out)
			out = append(out, history.Event{Index: len(out), Time: time.Duration(l.end), Type: l.outcome,
				Process: process, F: l.f, Key: "k", Value: l.got, Pair: begin.Index})
		}
	}
	return out
}

func registers(lines ...line) bool {
	result := Registers(events(lines...), time.Minute)
	return len(result.Anomalies)+len(result.Unknown) == 0
}

const none = history.Absent

func TestRegistersAllowWhatIsLinearizable(t *testing.T) {
	histories := map[string][]line{
		"write then read": {{"write", history.Number(1), 1, 2, history.OK, history.Number(1)},
			{"read", nil, 3, 4, history.OK, history.Number(1)}},
		"a read beside a write sees either": {{"write", history.Number(1), 1, 9, history.OK, history.Number(1)},
			{"read", nil, 2, 3, history.OK, none}, {"read", nil, 4, 5, history.OK, history.Number(1)}},
		"an unknown write shows late": {{"write", history.Number(1), 1, 2, history.Info, nil},
			{"read", nil, 3, 4, history.OK, none}, {"read", nil, 5, 6, history.OK, history.Number(1)}},
		"an operation that never ended": {{"write", history.Number(1), 1, 0, "", nil},
			{"read", nil, 5, 6, history.OK, history.Number(1)}},
		"a swap that was not looked at": {{"write", history.Number(1), 1, 2, history.OK, nil},
			{"cas", history.Swap{From: 1, To: 2}, 3, 4, history.Fail, nil}},
		"a refused swap": {{"write", history.Number(1), 1, 2, history.OK, nil},
			{"cas", history.Swap{From: none, To: 2}, 3, 4, history.Fail, history.Swap{}}},
	}
	for name, lines := range histories {
		if !registers(lines...) {
			t.Errorf("%s: called an anomaly", name)
		}
	}
}

func TestRegistersFindWhatIsNot(t *testing.T) {
	histories := map[string][]line{
		"a lost write": {{"write", history.Number(1), 1, 2, history.OK, nil}, {"read", nil, 3, 4, history.OK, none}},
		"a stale read": {{"write", history.Number(1), 1, 2, history.OK, nil}, {"write", history.Number(2), 3, 4, history.OK, nil},
			{"read", nil, 5, 6, history.OK, history.Number(1)}},
		"a value that comes and goes": {{"write", history.Number(1), 1, 9, history.OK, nil},
			{"read", nil, 2, 3, history.OK, history.Number(1)}, {"read", nil, 4, 5, history.OK, none}},
		"a refused write that shows": {{"write", history.Number(1), 1, 2, history.Fail, nil},
			{"read", nil, 3, 4, history.OK, history.Number(1)}},
		"two swaps from one value": {{"write", history.Number(1), 1, 2, history.OK, nil},
			{"cas", history.Swap{From: 1, To: 2}, 3, 9, history.OK, nil}, {"cas", history.Swap{From: 1, To: 3}, 3, 9, history.OK, nil}},
		"a swap refused although nothing stood against it": {{"write", history.Number(1), 1, 2, history.OK, nil},
			{"cas", history.Swap{From: 1, To: 2}, 3, 4, history.Fail, history.Swap{}}},
		"an unknown write that shows and is undone": {{"write", history.Number(1), 1, 2, history.Info, nil},
			{"read", nil, 3, 4, history.OK, history.Number(1)}, {"read", nil, 5, 6, history.OK, none}},
	}
	for name, lines := range histories {
		if registers(lines...) {
			t.Errorf("%s: passed", name)
		}
	}
}
