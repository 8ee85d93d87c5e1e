package history

import (
	"strings"
	"testing"
)

func TestTransactionsAreEllesListAppend(t *testing.T) {
	asked := Txn{Steps: []Micro{{List: 3}, {Append: true, List: 3, Value: 17}, {List: 4}}}
	told := Txn{Sequence: 2, Steps: []Micro{{List: 3, Seen: []Number{5, 9}}, {Append: true, List: 3, Value: 17}, {List: 4, Seen: []Number{}}}}
	log := New()
	log.Complete(log.Invoke(4, "txn", "", asked), OK, told, "")
	var out strings.Builder
	if err := WriteEDN(&out, log.Events()); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{
		":type :invoke, :process 4, :f :txn, :value [[:r 3 nil] [:append 3 17] [:r 4 nil]]}",
		":type :ok, :process 4, :f :txn, :value [[:r 3 [5 9]] [:append 3 17] [:r 4 []]]}",
	} {
		if !strings.Contains(out.String(), wanted) {
			t.Errorf("no %s in\n%s", wanted, out.String())
		}
	}
}
