package report

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bindery/jepsen/history"
	"bindery/jepsen/plan"
)

// A fault from 2 s to 5 s; writes acknowledged at 1, 2, 4.5 and 6 s, one read in between.
func hurtHistory() []history.Event {
	at := func(second float64) time.Duration { return time.Duration(second * float64(time.Second)) }
	events := []history.Event{}
	operation := func(f string, from, to float64) {
		index := len(events)
		events = append(events, history.Event{Index: index, Time: at(from), Type: history.Invoke, F: f, Pair: index + 1},
			history.Event{Index: index + 1, Time: at(to), Type: history.OK, F: f, Pair: index})
	}
	note := func(name string, when float64) {
		events = append(events, history.Event{Index: len(events), Time: at(when), Type: history.Info, Process: history.NemesisProcess,
			F: name, Value: history.Text("<[1]>"), Pair: -1})
	}
	operation("write", 0.5, 1)
	operation("write", 1.5, 2)
	note("kill", 2)
	operation("read", 2.1, 3)
	operation("write", 2.1, 4.5)
	note("kill-end", 5)
	operation("write", 5.5, 6)
	return events
}

func TestBandsAndRecovery(t *testing.T) {
	bands := Bands(hurtHistory())
	if len(bands) != 1 || bands[0].Name != "kill" || bands[0].From != 2*time.Second || bands[0].To != 5*time.Second {
		t.Fatalf("bands: %v", bands)
	}
	times := Recoveries(hurtHistory())["kill"]
	if len(times) != 1 || times[0] != 2500*time.Millisecond {
		t.Fatalf("the longest gap is 2.5 s, not %v", times)
	}
}

// No write is acknowledged any more, and the last one begins 7 s into a fault of 8 s.
func TestNoRecovery(t *testing.T) {
	events := []history.Event{
		{Index: 0, Time: 0, Type: history.Invoke, F: "write", Pair: 1},
		{Index: 1, Time: time.Second, Type: history.OK, F: "write", Pair: 0},
		{Index: 2, Time: 2 * time.Second, Type: history.Info, Process: history.NemesisProcess, F: "kill", Pair: -1},
		{Index: 3, Time: 9 * time.Second, Type: history.Invoke, F: "write", Pair: -1},
		{Index: 4, Time: 10 * time.Second, Type: history.Info, Process: history.NemesisProcess, F: "kill-end", Pair: -1},
		{Index: 5, Time: 15 * time.Second, Type: history.Invoke, F: "read", Pair: -1},
	}
	if times := Recoveries(events)["kill"]; len(times) != 1 || times[0] != 7*time.Second {
		t.Fatalf("nothing for 7 s, not %v", times)
	}
}

func TestPageTellsVerdictAndEscapes(t *testing.T) {
	var page strings.Builder
	run := Run{Workload: "register", Nemesis: "kill", Seed: 7, Seconds: 10 * time.Second, Began: time.Now(), Replay: "jepsen/run --seed 7",
		Counts: map[string]int{"ok": 5}, Anomalies: []string{"register <k> is not linearizable"}, Events: hurtHistory()}
	if err := Write(&page, run); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FAILED", "jepsen/run --seed 7", "register &lt;k&gt; is not linearizable", `class="band f0"`, "2.5s", "&lt;[1]&gt;",
		"unknown outcome", html.EscapeString(faults["kill"]), workloads["register"].Judge} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestTableSumsRuns(t *testing.T) {
	var table strings.Builder
	one := Line{Workload: "list", OK: 90, Info: 10, Seconds: 60, Passed: true, Recoveries: map[string][]float64{"kill": {1, 3, 2}}}
	other := Line{System: "etcd", Workload: "list", OK: 50, Seconds: 60, Why: "register k is not linearizable", Replay: "jepsen/run --seed 7",
		Recoveries: map[string][]float64{"kill": {4}}}
	alone := Line{Workload: "kv", Seed: 8, OK: 1, Recoveries: map[string][]float64{"kill": {9}}} // no other system had this seed
	five := Line{Workload: "kv", Nemesis: "kill,slow", Nodes: 5, Seed: 9, Passed: true}
	rows := []plan.Row{{Workload: "kv", Faults: [2]string{"kill", "slow"}}, {Workload: "list", Faults: [2]string{"kill", "slow"}}}
	if err := Markdown(&table, []Line{one, one, other, alone, five}, rows, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| list | 2 | 0 | 2 | 180 | 0 | 10.0 % |", "| etcd list | 1 | 1 | 1 | 50 |", "| fault | bindery | etcd |",
		"| kill | 6: 2.00 s, 3.00 s | 1: 4.00 s, 4.00 s |", "| kill | 7: 2.00 s, 9.00 s |\n",
		"| bindery list | 2 | 0 | 2 | 180 |", "is 2 runs (`--all`). On 5 nodes 1 of them", "| kv |  | 1 | 1 |", "| FAILED: register k is not linearizable | 50 | 0 | `jepsen/run --seed 7` |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
}

// Bars that overlap, and bars whose names do, have lanes of their own; a name at the right edge stays inside.
func TestLanes(t *testing.T) {
	var events []history.Event
	note := func(name string, when time.Duration) {
		events = append(events, history.Event{Index: len(events), Time: when * time.Second, Type: history.Info, Process: history.NemesisProcess, F: name, Pair: -1})
	}
	note("kill", 10)
	note("partition", 12) // inside kill
	note("kill-end", 20)
	note("partition-end", 20)
	note("pause", 30)
	note("pause-end", 31) // shorter than its name
	note("power-all", 32)
	note("power-all-end", 100)
	note("decommission", 99)
	found := strips(events, faultRows(events), func(at time.Duration) float64 { return at.Seconds() * 10 })
	var lanes []int
	for _, each := range found {
		lanes = append(lanes, each.Lane)
	}
	if fmt.Sprint(lanes) != "[0 1 0 1 0]" {
		t.Errorf("lanes: %v", lanes)
	}
	if last := found[len(found)-1]; last.LabelX+float64(len(last.Label))*labelWidth > plotWidth {
		t.Errorf("%s begins at %.0f and leaves the plot", last.Label, last.LabelX)
	}
}

func TestPlantedScore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planted.jsonl")
	lines := `{"change": "a", "class": "term", "layer": "raft", "breaks": "x | y", "by": "simulator", "caught": false, "seeds": 1000, "said": ""}
{"change": "a", "class": "term", "layer": "raft", "breaks": "x | y", "by": "simulator", "caught": true, "seconds": 0.5, "seeds": 3, "said": "two leaders"}
{"change": "a", "class": "term", "layer": "raft", "breaks": "x | y", "by": "jepsen", "caught": false, "seconds": 160, "runs": 4, "said": "run 2: too little was done"}
{"change": "b", "class": "order", "layer": "raft", "by": "simulator", "caught": true, "seconds": 8, "seeds": 70, "said": "diverged"}
{"change": "b", "class": "order", "layer": "raft", "by": "jepsen", "caught": false, "said": "", "error": "it does not build"}
{"change": "c", "class": "checksum", "layer": "objects", "by": "simulator", "caught": false, "absent": true, "said": "there is no simulator of objects"}
{"change": "c", "class": "checksum", "layer": "objects", "by": "jepsen", "caught": true, "seconds": 40.25, "runs": 1, "run": "register flip 3", "said": "a damaged body"}
`
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	answers, err := LoadPlanted(path)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := Markdown(&table, nil, nil, answers); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| raft | 2 | 2 | 2 of 2 | 8.0 s, 8.0 s | 0 of 1 | |", "| objects | 1 | 1 | - | | 1 of 1 | 40.2 s, 40.2 s |",
		"| all | 3 | 3 | 2 of 2 | 8.0 s, 8.0 s | 1 of 2 | 40.2 s, 40.2 s |",
		"| raft | a | term | x / y | 0.5 s, seed 3: two leaders | **survives** 4 runs: run 2: too little was done |",
		"| raft | b | order |  | 8.0 s, seed 70: diverged | error: it does not build |",
		"| objects | c | checksum |  | there is no simulator of objects | 40.2 s, run 1 (register flip 3): a damaged body |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	if err := os.WriteFile(path, []byte(lines+"{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPlanted(path); err == nil || !strings.Contains(err.Error(), "line 8") {
		t.Errorf("half a line: %v", err)
	}
}
