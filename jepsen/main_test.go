package main

import (
	"testing"
	"time"

	"bindery/jepsen/history"
	"bindery/jepsen/nemesis"
	"bindery/jepsen/report"
	"bindery/jepsen/workload"
)

// acknowledged is a history of so many operations, all done.
func acknowledged(f string, count int) []history.Event {
	var events []history.Event
	for i := 0; i < 2*count; i += 2 {
		events = append(events, history.Event{Index: i, Type: history.Invoke, F: f, Pair: i + 1},
			history.Event{Index: i + 1, Type: history.OK, F: f, Pair: i})
	}
	return events
}

func TestJudge(t *testing.T) {
	for _, each := range []struct {
		name   string
		run    report.Run
		passed bool
	}{
		{"enough", report.Run{Faults: 1, Counts: map[string]int{"ok": 100}, Events: acknowledged("write", 20)}, true},
		{"no fault", report.Run{Counts: map[string]int{"ok": 100}, Events: acknowledged("write", 20)}, false},
		{"none was wanted", report.Run{Nemesis: "none", Counts: map[string]int{"ok": 100}, Events: acknowledged("write", 20)}, true},
		{"too few", report.Run{Faults: 1, Counts: map[string]int{"ok": 99}, Events: acknowledged("write", 20)}, false},
		{"only reads", report.Run{Faults: 1, Counts: map[string]int{"ok": 100}, Events: acknowledged("read", 100)}, false},
		{"an anomaly", report.Run{Faults: 1, Counts: map[string]int{"ok": 100}, Events: acknowledged("write", 20), Anomalies: []string{"x"}}, false},
		{"undecided", report.Run{Faults: 1, Counts: map[string]int{"ok": 100}, Events: acknowledged("write", 20), Undecided: []string{"x"}}, false},
		{"an abort", report.Run{Faults: 1, Counts: map[string]int{"ok": 100}, Events: acknowledged("write", 20), Aborts: []string{"x"}}, false},
	} {
		each.run.Seconds = 20 * time.Second
		if judge(&each.run); each.run.Passed != each.passed {
			t.Errorf("%s: passed %v", each.name, each.run.Passed)
		}
	}
}

// A page explains every workload, fault and system that there is.
func TestPagesHaveWords(t *testing.T) {
	for _, system := range append(workload.Systems(), "") {
		for _, name := range append(workload.Names(), "append", "bank") {
			for _, fault := range nemesis.Names() {
				if !report.Described(name, fault, system) {
					t.Errorf("%s under %s on %q is not explained", name, fault, system)
				}
			}
		}
	}
}
