package check

import (
	"testing"

	"bindery/jepsen/history"
)

// t is a transaction: what is asked of it, and with a sequence what was told.
func t(sequence int64, steps ...history.Micro) history.Txn {
	return history.Txn{Steps: steps, Sequence: sequence}
}

func app(value history.Number) history.Micro {
	return history.Micro{Append: true, List: 1, Value: value}
}

func see(values ...history.Number) history.Micro { return history.Micro{List: 1, Seen: values} }

func txn(begin, end int, outcome history.Type, told history.Txn) line {
	asked := history.Txn{Steps: append([]history.Micro(nil), told.Steps...)}
	for i := range asked.Steps {
		asked.Steps[i].Seen = nil
	}
	return line{f: "txn", value: asked, begin: begin, end: end, outcome: outcome, got: told}
}

// rows are value, number, value, number, ...
func rows(pairs ...int64) line {
	all := history.Rows{}
	for i := 0; i < len(pairs); i += 2 {
		all.Rows = append(all.Rows, history.Row{List: 1, Value: history.Number(pairs[i]), Sequence: pairs[i+1]})
	}
	return line{f: "rows", begin: 100, end: 101, outcome: history.OK, got: all}
}

func TestAppends(tt *testing.T) {
	ok, info, fail := history.OK, history.Info, history.Fail
	for _, each := range []struct {
		name  string
		sound bool
		lines []line
	}{
		{"one after the other", true, []line{txn(1, 2, ok, t(2, app(1))), txn(3, 4, ok, t(3, see(1), app(2), see(1, 2))),
			txn(5, 6, ok, t(3, see(1, 2))), rows(1, 2, 2, 3)}},
		{"two at once, in either order", true, []line{txn(1, 9, ok, t(3, app(1))), txn(2, 8, ok, t(2, app(2))), rows(2, 2, 1, 3)}},
		{"readers of one number overlap as they like", true, []line{txn(1, 2, ok, t(1, see())), txn(3, 4, ok, t(1, see())), rows()}},
		{"an unknown one that was done", true, []line{txn(1, 2, info, t(0, app(1), app(2))), txn(3, 4, ok, t(2, see(1, 2))), rows(1, 2, 2, 2)}},
		{"an unknown one that was not done", true, []line{txn(1, 2, info, t(0, app(1))), txn(3, 4, ok, t(1, see())), rows()}},
		{"an unknown one that was done late", true, []line{txn(1, 2, info, t(0, app(1))), txn(3, 4, ok, t(2, app(2))),
			txn(5, 6, ok, t(3, see(2, 1))), rows(2, 2, 1, 3)}},
		{"a refused one", true, []line{txn(1, 2, fail, t(0, app(1))), txn(3, 4, ok, t(1, see())), rows()}},

		{"a lost one", false, []line{txn(1, 2, ok, t(2, app(1))), rows()}},
		{"half of one", false, []line{txn(1, 2, ok, t(2, app(1), app(2))), rows(1, 2)}},
		{"half of an unknown one", false, []line{txn(1, 2, info, t(0, app(1), app(2))), rows(1, 2)}},
		{"an unknown one in two parts", false, []line{txn(1, 9, info, t(0, app(1), app(2))), rows(1, 2, 2, 3)}},
		{"a refused one that was done", false, []line{txn(1, 2, fail, t(0, app(1))), rows(1, 2)}},
		{"one that was done twice", false, []line{txn(1, 2, ok, t(3, app(1))), rows(1, 2, 1, 3)}},
		{"one number for two", false, []line{txn(1, 2, ok, t(2, app(1))), txn(1, 2, ok, t(2, app(2))), rows(1, 2, 2, 2)}},
		{"a number of nobody", false, []line{txn(1, 2, ok, t(3, app(1))), rows(1, 3)}},
		{"a number of nobody, seen by a reader", false, []line{txn(1, 2, ok, t(2, see())), rows()}},
		{"an order against the time", false, []line{txn(1, 2, ok, t(3, app(1))), txn(3, 4, ok, t(2, app(2))), rows(2, 2, 1, 3)}},
		{"a stale read", false, []line{txn(1, 2, ok, t(2, app(1))), txn(3, 4, ok, t(1, see())), rows(1, 2)}},
		{"a read of what had not begun", false, []line{txn(1, 2, ok, t(2, see(1))), txn(3, 4, ok, t(2, app(1))), rows(1, 2)}},
		{"an unknown one that was done before it began", false, []line{txn(1, 2, ok, t(3, app(1))), txn(3, 4, info, t(0, app(2))), rows(2, 2, 1, 3)}},
		{"a read that lacks one", false, []line{txn(1, 2, ok, t(2, app(1))), txn(3, 4, ok, t(3, app(2))), txn(5, 6, ok, t(3, see(2))), rows(1, 2, 2, 3)}},
		{"a read in another order", false, []line{txn(1, 2, ok, t(2, app(1))), txn(3, 4, ok, t(3, app(2))), txn(5, 6, ok, t(3, see(2, 1))), rows(1, 2, 2, 3)}},
		{"a transaction that does not see its own", false, []line{txn(1, 2, ok, t(2, app(1), see())), rows(1, 2)}},
		{"a read of half of one", false, []line{txn(1, 9, ok, t(2, app(1), app(2))), txn(2, 3, ok, t(2, see(1))), rows(1, 2, 2, 2)}},
		{"an aborted read", false, []line{txn(1, 2, fail, t(0, app(1))), txn(3, 4, ok, t(1, see(1))), rows()}},
		{"no read in the end", false, []line{txn(1, 2, ok, t(2, app(1)))}},
		{"a node that lacks rows in the end", false, []line{txn(1, 2, ok, t(2, app(1))), rows(1, 2), rows()}},
	} {
		if got := Appends(events(each.lines...)).Anomalies; (len(got) == 0) != each.sound {
			tt.Errorf("%s: %v", each.name, got)
		}
	}
}
