package check

import (
	"testing"

	"bindery/jepsen/history"
)

func plans(all ...history.Plan) history.Plans { return history.Plans{All: all} }

func alarms(lines ...line) int { return len(Alarms(events(lines...)).Anomalies) }

func TestAlarms(t *testing.T) {
	asked := plans(history.Plan{ID: 1})
	done := history.Plan{ID: 1, At: 10, Ran: 12, Times: 1}
	acknowledged := line{"plan", asked, 1, 2, history.OK, asked}
	read := func(all ...history.Plan) line { return line{"plans", nil, 5, 6, history.OK, plans(all...)} }
	for name, lines := range map[string][]line{
		"done once":                         {acknowledged, read(done), read(done)},
		"an unknown one is there, and done": {{"plan", asked, 1, 2, history.Info, nil}, read(done)},
		"an unknown one is not there":       {{"plan", asked, 1, 2, history.Info, nil}, read()},
	} {
		if alarms(lines...) != 0 {
			t.Errorf("%s: called an anomaly", name)
		}
	}
	for name, lines := range map[string][]line{
		"lost":                          {acknowledged, read()},
		"never done":                    {acknowledged, read(history.Plan{ID: 1, At: 10})},
		"done twice":                    {acknowledged, read(history.Plan{ID: 1, At: 10, Ran: 12, Times: 2})},
		"too early":                     {acknowledged, read(history.Plan{ID: 1, At: 10, Ran: 9, Times: 1})},
		"an unknown one was not done":   {{"plan", asked, 1, 2, history.Info, nil}, read(history.Plan{ID: 1, At: 10})},
		"a refused one is there":        {{"plan", asked, 1, 2, history.Fail, nil}, read(done)},
		"from nowhere":                  {read(done)},
		"two are told different things": {acknowledged, read(done), read(history.Plan{ID: 1, At: 10, Ran: 13, Times: 1})},
		"never read":                    {acknowledged},
		"only another object is read":   {acknowledged, {"plans", nil, 5, 6, history.OK, history.Plans{Object: 1}}},
		"told twice":                    {acknowledged, read(done, done)},
	} {
		if alarms(lines...) == 0 {
			t.Errorf("%s: passed", name)
		}
	}
}
