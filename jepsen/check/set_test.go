package check

import (
	"testing"

	"bindery/jepsen/history"
)

func lists(lines ...line) int { return len(Lists(events(lines...)).Anomalies) }

func TestListsAllowWhatIsConcurrent(t *testing.T) {
	for name, lines := range map[string][]line{
		"an add beside the list is there":     {{"add", history.Number(1), 1, 9, history.OK, nil}, {"list", nil, 2, 3, history.OK, history.Set{1}}},
		"an add beside the list is not there": {{"add", history.Number(1), 1, 9, history.OK, nil}, {"list", nil, 2, 3, history.OK, history.Set{}}},
		"an unknown add shows":                {{"add", history.Number(1), 1, 2, history.Info, nil}, {"list", nil, 3, 4, history.OK, history.Set{1}}},
		"a removal beside the list": {{"add", history.Number(1), 1, 2, history.OK, nil}, {"remove", history.Number(1), 3, 9, history.OK, nil},
			{"list", nil, 4, 5, history.OK, history.Set{}}},
		"an unknown removal": {{"add", history.Number(1), 1, 2, history.OK, nil}, {"remove", history.Number(1), 3, 4, history.Info, nil},
			{"list", nil, 5, 6, history.OK, history.Set{1}}},
	} {
		if lists(lines...) != 0 {
			t.Errorf("%s: called an anomaly", name)
		}
	}
}

func TestListsFindWhatIsMissingOrBack(t *testing.T) {
	for name, lines := range map[string][]line{
		"an acknowledged add is missing": {{"add", history.Number(1), 1, 2, history.OK, nil}, {"list", nil, 3, 4, history.OK, history.Set{}}},
		"a removed key is back": {{"add", history.Number(1), 1, 2, history.OK, nil}, {"remove", history.Number(1), 3, 4, history.OK, nil},
			{"list", nil, 5, 6, history.OK, history.Set{1}}},
		"a key from nowhere":    {{"list", nil, 5, 6, history.OK, history.Set{1}}},
		"a key before its time": {{"list", nil, 1, 2, history.OK, history.Set{1}}, {"add", history.Number(1), 3, 4, history.OK, nil}},
		"a refused add shows":   {{"add", history.Number(1), 1, 2, history.Fail, nil}, {"list", nil, 3, 4, history.OK, history.Set{1}}},
	} {
		if lists(lines...) == 0 {
			t.Errorf("%s: passed", name)
		}
	}
}
