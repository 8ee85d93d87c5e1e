package check

import (
	"testing"

	"bindery/jepsen/history"
)

func write(value history.Number, begin, end int, outcome history.Type) line {
	return line{f: "write", value: value, begin: begin, end: end, outcome: outcome, got: value}
}

func final(value history.Number, begin int) line {
	return line{f: FinalRead, begin: begin, end: begin + 1, outcome: history.OK, got: value}
}

func TestKV(t *testing.T) {
	for _, each := range []struct {
		name  string
		sound bool
		lines []line
	}{
		{"the last write stays", true, []line{write(1, 0, 1, history.OK), write(2, 2, 3, history.OK), final(2, 10), final(2, 12)}},
		{"an acknowledged write is lost to an earlier one", false, []line{write(1, 0, 1, history.OK), write(2, 2, 3, history.OK), final(1, 10)}},
		{"an acknowledged write is lost", false, []line{write(1, 0, 1, history.OK), final(history.Absent, 10)}},
		{"a deleted value comes back", false, []line{write(1, 0, 1, history.OK), write(history.Absent, 2, 3, history.OK), final(1, 10)}},
		{"of two at once either may win", true, []line{write(1, 0, 5, history.OK), write(2, 2, 3, history.OK), final(1, 10)}},
		{"an unknown outcome may win", true, []line{write(1, 0, 1, history.Info), write(2, 2, 3, history.OK), final(1, 10)}},
		{"an unknown outcome may be nothing", true, []line{write(1, 0, 1, history.Info), final(history.Absent, 10)}},
		{"a refused one may not", false, []line{write(1, 0, 1, history.Fail), final(1, 10)}},
		{"nodes differ", false, []line{write(1, 0, 5, history.OK), write(2, 2, 3, history.OK), final(1, 10), final(2, 12)}},
		{"nobody wrote it", false, []line{final(7, 10)}},
		{"others may read what is old", true, []line{write(1, 0, 1, history.OK), write(2, 2, 3, history.OK),
			{f: "read", begin: 5, end: 6, outcome: history.OK, got: history.Number(1)}}},
	} {
		if got := len(KV(events(each.lines...)).Anomalies) == 0; got != each.sound {
			t.Errorf("%s: sound is %v", each.name, got)
		}
	}
}

func TestKVReadsItsOwnWrites(t *testing.T) {
	own := events(write(1, 0, 1, history.OK), write(2, 2, 3, history.OK),
		line{f: "read", begin: 5, end: 6, outcome: history.OK, got: history.Number(1)})
	for i := range own {
		own[i].Process = 0
	}
	if len(KV(own).Anomalies) != 1 {
		t.Error("a client did not read its own write, and that was not seen")
	}
}
