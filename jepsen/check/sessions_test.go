package check

import (
	"testing"

	"bindery/jepsen/history"
)

// in is what session s was told: its register, the counter, the bookmark. Operations last one, from begin on.
func in(f string, s history.Number, begin int, own history.Number, counter int64, bookmark string) line {
	asked := history.InSession{Session: s}
	if f == "write" {
		asked.Value = own
	}
	return line{f: f, value: asked, begin: begin, end: begin + 1, outcome: history.OK,
		got: history.InSession{Session: s, Value: own, Counter: counter, Bookmark: bookmark}}
}

func primary(l line) line {
	asked := l.value.(history.InSession)
	asked.Sent = firstPrimary
	l.value = asked
	return l
}

func ended(l line, outcome history.Type) line {
	l.outcome, l.got = outcome, nil
	return l
}

func TestSessions(t *testing.T) {
	byReplica := in("write", 1, 1, 7, 1, "b1")
	answer := byReplica.got.(history.InSession)
	answer.Replica = true
	byReplica.got = answer
	for _, each := range []struct {
		name  string
		sound bool
		lines []line
	}{
		{"reads after its write", true, []line{in("write", 1, 1, 7, 1, "b1"), in("read", 1, 3, 7, 1, "b1"), in("read", 1, 5, 7, 1, "b1")}},
		{"another's session may be behind", true, []line{in("write", 1, 1, 7, 1, "b1"), in("read", 2, 3, 0, 0, "b0")}},
		{"an unknown write of another", true, []line{ended(in("write", 1, 1, 7, 1, "b1"), history.Info), in("read", 2, 3, 0, 1, "b1")}},
		{"a refused write", true, []line{in("write", 1, 1, 7, 1, "b1"), ended(in("write", 1, 3, 8, 2, "b2"), history.Fail), in("read", 1, 5, 7, 1, "b1")}},
		{"one that began at the primary", true, []line{in("write", 1, 1, 7, 1, "b1"), primary(in("read", 2, 3, 0, 1, "b1"))}},

		{"its own write is not read", false, []line{in("write", 1, 1, 7, 1, "b1"), in("read", 1, 3, 0, 1, "b1")}},
		{"an older write is read", false, []line{in("write", 1, 1, 7, 1, "b1"), in("write", 1, 3, 8, 2, "b2"), in("read", 1, 5, 7, 2, "b2")}},
		{"the counter goes back", false, []line{in("write", 2, 1, 7, 1, "b1"), in("read", 1, 3, 0, 1, "b1"), in("read", 1, 5, 0, 0, "b1")}},
		{"the bookmark goes back", false, []line{in("write", 2, 1, 7, 1, "b1"), in("read", 1, 3, 0, 1, "b1"), in("read", 1, 5, 0, 1, "b0")}},
		{"a write that does not count", false, []line{in("write", 2, 1, 7, 1, "b1"), in("read", 1, 3, 0, 1, "b1"), in("write", 1, 5, 8, 1, "b2")}},
		{"two writes make one number", false, []line{in("write", 1, 1, 7, 1, "b1"), in("write", 2, 1, 8, 1, "b2")}},
		{"the primary shows what was", false, []line{in("write", 1, 1, 7, 1, "b1"), primary(in("read", 2, 3, 0, 0, "b0"))}},
		{"a write comes after one that it does not count", false, []line{in("write", 1, 1, 7, 2, "b2"), ended(in("write", 3, 1, 9, 0, ""), history.Info), in("write", 2, 3, 8, 1, "b1")}},
		{"more writes than had begun", false, []line{in("read", 1, 1, 0, 1, "b1"), in("write", 2, 3, 7, 1, "b1")}},
		{"one bookmark, two states", false, []line{in("write", 1, 1, 7, 1, "b1"), in("read", 2, 3, 0, 0, "b1")}},
		{"a later bookmark, an earlier state", false, []line{in("write", 1, 1, 7, 1, "b1"), in("read", 2, 3, 0, 0, "b2")}},
		{"a replica that writes", false, []line{byReplica}},
	} {
		if got := Sessions(events(each.lines...)).Anomalies; (len(got) == 0) != each.sound {
			t.Errorf("%s: %v", each.name, got)
		}
	}
}
