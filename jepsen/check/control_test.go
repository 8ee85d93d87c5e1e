package check

import (
	"testing"
	"time"

	"bindery/jepsen/history"
)

// keyed is a line of another key than "k".
type keyed struct {
	key string
	line
}

func things(lines ...keyed) bool {
	var plain []line
	for _, each := range lines {
		plain = append(plain, each.line)
	}
	all, at := events(plain...), 0
	for i := range all {
		if all[i].Type == history.Invoke {
			all[i].Key = lines[at].key
			at++
		} else {
			all[i].Key = all[all[i].Pair].Key
		}
	}
	result := Things(all, time.Minute)
	return len(result.Anomalies)+len(result.Unknown) == 0
}

func on(key, f string, asked history.Value, begin, end int, outcome history.Type, got history.Value) keyed {
	return keyed{key, line{f, asked, begin, end, outcome, got}}
}

func thing(id string, number history.Number) history.Thing {
	return history.Thing{ID: id, Number: number}
}

const bucket, database, inside = "bucket/a", "database/a", "rows/u1"

func TestThingsAllow(t *testing.T) {
	empty, full, gone := thing("bucket", none), thing("bucket", 1), history.Thing{}
	for name, lines := range map[string][]keyed{
		"a bucket's life": {on(bucket, "create", empty, 1, 2, history.OK, empty), on(bucket, "write", full, 3, 4, history.OK, full),
			on(bucket, "drop", empty, 5, 6, history.Fail, history.Filled), on(bucket, "remove", empty, 7, 8, history.OK, empty),
			on(bucket, "drop", empty, 9, 10, history.OK, empty), on(bucket, "read", nil, 11, 12, history.OK, gone)},
		"a deletion that nobody knows of, late": {on(bucket, "create", empty, 1, 2, history.OK, empty), on(bucket, "drop", empty, 3, 4, history.Info, nil),
			on(bucket, "read", nil, 5, 6, history.OK, empty), on(bucket, "read", nil, 7, 8, history.OK, gone)},
		"what an unknown creation made shows, and is deleted": {on(database, "create", nil, 1, 2, history.Info, nil),
			on(database, "look", nil, 3, 4, history.OK, thing("u1", none)), on(database, "drop", thing("u1", none), 5, 6, history.OK, thing("u1", none)),
			on(database, "look", nil, 7, 8, history.OK, gone)},
		"a deletion under way is seen inside before it is seen by name": {on(database, "create", nil, 1, 2, history.OK, thing("u1", none)),
			on(database, "drop", thing("u1", none), 3, 20, history.OK, thing("u1", none)), on(inside, "read", nil, 5, 6, history.OK, gone),
			on(database, "look", nil, 7, 8, history.OK, thing("u1", none))},
		"two deletions at once are both told that they did it": {on(database, "create", nil, 1, 2, history.OK, thing("u1", none)),
			on(database, "drop", thing("u1", none), 3, 6, history.OK, thing("u1", none)), on(database, "drop", thing("u1", none), 4, 7, history.OK, thing("u1", none)),
			on(database, "look", nil, 8, 9, history.OK, gone)},
	} {
		if !things(lines...) {
			t.Errorf("%s: called an anomaly", name)
		}
	}
}

func TestThingsFind(t *testing.T) {
	empty, full, gone := thing("bucket", none), thing("bucket", 1), history.Thing{}
	made := on(database, "create", nil, 1, 2, history.OK, thing("u1", none))
	dropped := on(database, "drop", thing("u1", none), 3, 4, history.OK, thing("u1", none))
	for name, lines := range map[string][]keyed{
		"a bucket that is not empty is deleted": {on(bucket, "create", empty, 1, 2, history.OK, empty), on(bucket, "write", full, 3, 4, history.OK, full),
			on(bucket, "drop", empty, 5, 6, history.OK, empty)},
		"what lay in the last one is in the next": {on(bucket, "create", empty, 1, 2, history.OK, empty), on(bucket, "write", full, 3, 4, history.Info, nil),
			on(bucket, "read", nil, 5, 6, history.OK, full), on(bucket, "remove", empty, 7, 8, history.OK, empty), on(bucket, "drop", empty, 9, 10, history.OK, empty),
			on(bucket, "create", empty, 11, 12, history.OK, empty), on(bucket, "read", nil, 13, 14, history.OK, full)},
		"a refused deletion happens later": {on(bucket, "create", empty, 1, 2, history.OK, empty), on(bucket, "write", full, 3, 4, history.OK, full),
			on(bucket, "drop", empty, 5, 6, history.Fail, history.Filled), on(bucket, "remove", empty, 7, 8, history.OK, empty),
			on(bucket, "read", nil, 9, 10, history.OK, gone)},
		"a name twice":                  {made, on(database, "create", nil, 3, 4, history.OK, thing("u2", none))},
		"a deleted database has a name": {made, dropped, on(database, "look", nil, 5, 6, history.OK, thing("u1", none))},
		"a made database has none":      {made, on(database, "look", nil, 5, 6, history.OK, gone)},
		"a deleted database is read":    {made, dropped, on(inside, "read", nil, 5, 6, history.OK, thing("u1", none))},
		"a database is missing":         {made, on(inside, "read", nil, 5, 6, history.OK, gone)},
		"a row is missing": {made, on(inside, "write", thing("u1", 7), 3, 4, history.OK, thing("u1", 7)),
			on(inside, "read", nil, 5, 6, history.OK, thing("u1", none))},
		"a deletion did it, and is told that it was not there": {made, on(database, "drop", thing("u1", none), 3, 4, history.Fail, history.Missing),
			on(database, "look", nil, 5, 6, history.OK, gone)},
		"deleted twice, one after the other": {made, dropped, on(database, "drop", thing("u1", none), 5, 6, history.OK, thing("u1", none))},
		"taken by nobody":                    {on(database, "create", nil, 1, 2, history.Fail, history.Taken)},
	} {
		if things(lines...) {
			t.Errorf("%s: passed", name)
		}
	}
}
