package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
	"time"

	"bindery/jepsen/plan"
)

// Line is what the list of runs keeps of one: a line of JSON each.
type Line struct {
	System     string `json:",omitempty"`
	Workload   string
	Nemesis    string
	Seed       int64
	Nodes      int
	Seconds    float64
	Day        string
	OK         int
	Fail       int
	Info       int
	Faults     int
	Stops      int
	Anomalies  int
	Undecided  int
	Aborts     int
	Passed     bool
	Why        string `json:",omitempty"` // it failed
	Replay     string
	Recoveries map[string][]float64 // seconds, for each fault
}

// Summary of a run, for the list.
func Summary(run Run) Line {
	line := Line{System: run.System, Workload: run.Workload, Nemesis: run.Nemesis, Seed: run.Seed, Nodes: run.Nodes,
		Seconds: run.Seconds.Seconds(), Day: run.Began.Format("2006-01-02"), OK: run.Counts["ok"],
		Fail: run.Counts["fail"], Info: run.Counts["info"], Faults: run.Faults, Stops: run.Stops,
		Anomalies: len(run.Anomalies), Undecided: len(run.Undecided), Aborts: len(run.Aborts), Passed: run.Passed,
		Why: why(run), Replay: run.Replay,
		Recoveries: map[string][]float64{}}
	for name, times := range Recoveries(run.Events) {
		for _, each := range times {
			line.Recoveries[name] = append(line.Recoveries[name], each.Seconds())
		}
	}
	return line
}

// places of logs on the machine that ran it.
var places = regexp.MustCompile(` \(/[^)]*\)`)

// why a run failed, in a few words: its first reason.
func why(run Run) string {
	reasons := append(append(append([]string{}, run.Aborts...), run.Anomalies...), run.Undecided...)
	if run.TooLittle {
		reasons = append(reasons, "too little was done")
	}
	if run.Passed || len(reasons) == 0 {
		return ""
	}
	return strings.NewReplacer("|", "/", "\n", " ").Replace(places.ReplaceAllString(reasons[0], ""))
}

// Append adds a line to the list at path.
func Append(path string, line Line) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	text, err := json.Marshal(line)
	if err == nil {
		_, err = file.Write(append(text, '\n'))
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

// Load reads the list; a file that is not there is an empty list.
func Load(path string) ([]Line, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []Line
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(lines)+1, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

type sum struct {
	runs, failed, ok, fail, info, faults, stops, anomalies, undecided, aborts int
	seconds                                                                   float64
}

func (s *sum) add(line Line) {
	s.runs++
	if !line.Passed {
		s.failed++
	}
	s.ok += line.OK
	s.fail += line.Fail
	s.info += line.Info
	s.faults += line.Faults
	s.stops += line.Stops
	s.anomalies += line.Anomalies
	s.undecided += line.Undecided
	s.aborts += line.Aborts
	s.seconds += line.Seconds
}

func (s *sum) row(name string) string {
	all := s.ok + s.fail + s.info
	share := 0.0
	if all > 0 {
		share = 100 * float64(s.info) / float64(all)
	}
	return fmt.Sprintf("| %s | %d | %d | %.0f | %d | %d | %.1f %% | %d | %d | %d | %d | %d |\n", name, s.runs, s.failed, s.seconds/60, s.ok,
		s.fail, share, s.faults, s.stops, s.anomalies, s.undecided, s.aborts)
}

// ours is how this project is called where others stand beside it.
const ours = "bindery"

func (line Line) system() string {
	if line.System == "" {
		return ours
	}
	return line.System
}

const introduction = `# Results of jepsen/
Made by ` + "`jepsen/run --summary`" + ` from results.jsonl, a line for each run that came to its load: one that failed stays, and its row below says what became of it (docs/track-record.md has the causes).

`

const head = "| %s | runs | failed | minutes of load | acknowledged | refused | unknown outcome | faults | deliberate stops | anomalies | undecided | aborts |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"

// Markdown is the list as people read it, with how much of the table (--all) is passed and the score of planted changes.
func Markdown(out io.Writer, lines []Line, rows []plan.Row, answers []Planted) error {
	text := &strings.Builder{}
	text.WriteString(introduction)
	var mine, others []Line
	sums, total := map[string]*sum{}, &sum{}
	for _, line := range lines {
		if line.system() == ours {
			mine = append(mine, line)
			sumOf(sums, line.Workload).add(line)
			total.add(line)
		} else {
			others = append(others, line)
		}
	}
	table(text, "workload", sums)
	text.WriteString(total.row("all"))
	text.WriteString("\nUnknown outcome: of all operations; a run in which most are says little, and one with too few acknowledged ones does not count.\n")
	coverage(text, mine, rows)
	if len(others) > 0 {
		text.WriteString("\n## The same faults on other systems\n")
		perSystem(text, others)
	}
	text.WriteString("\n## What a fault costs\nThe longest time in which no client had any write acknowledged, while the fault was there and 10 s after: times it was done, p50, max.\n\n")
	recoveries(text, mine)
	if beside := sideBySide(lines); len(beside) > 0 {
		text.WriteString("\n## Side by side\nRuns of the same faults, seed, nodes and time on several systems, one after the other: bindery's as above, and theirs.\n\n")
		perSystem(text, beside)
		text.WriteString("\n")
		recoveries(text, beside)
	}
	planted(text, answers)
	runs(text, lines)
	_, err := io.WriteString(out, text.String())
	return err
}

const tableNodes = 5

// coverage says which rows of the table have passed, and how often each workload has passed under each fault, with others or alone.
func coverage(text *strings.Builder, lines []Line, rows []plan.Row) {
	passed, met, faults := map[string]bool{}, map[string]map[string]int{}, map[string]bool{}
	for _, line := range lines {
		if !line.Passed {
			continue
		}
		if line.Nodes == tableNodes {
			passed[line.Workload+" "+line.Nemesis] = true
		}
		if met[line.Workload] == nil {
			met[line.Workload] = map[string]int{}
		}
		for _, fault := range strings.Split(line.Nemesis, ",") {
			met[line.Workload][fault]++
			faults[fault] = true
		}
	}
	done := 0
	for _, row := range rows {
		if passed[row.Workload+" "+row.Nemesis()] {
			done++
		}
	}
	fmt.Fprintf(text, "\n## The table\nEvery workload under every fault, and every two faults together, is %d runs (`--all`). On %d nodes %d of them have passed. Passed runs of each workload under each fault, with others or alone:\n\n", len(rows), tableNodes, done)
	columns(text, "workload", sorted(faults))
	for _, workload := range sorted(met) {
		fmt.Fprintf(text, "| %s |", workload)
		for _, fault := range sorted(faults) {
			fmt.Fprintf(text, " %s |", strings.TrimPrefix(fmt.Sprint(met[workload][fault]), "0"))
		}
		text.WriteString("\n")
	}
}

func sumOf(sums map[string]*sum, name string) *sum {
	if sums[name] == nil {
		sums[name] = &sum{}
	}
	return sums[name]
}

func table(text *strings.Builder, what string, sums map[string]*sum) {
	fmt.Fprintf(text, head, what)
	for _, name := range sorted(sums) {
		text.WriteString(sums[name].row(name))
	}
}

// sideBySide are the runs that another system had as well: other runs had a machine that did other things.
func sideBySide(lines []Line) []Line {
	had := map[string]map[string]bool{} // schedule of faults, systems
	schedule := func(line Line) string {
		return fmt.Sprint(line.Nemesis, line.Nodes, line.Seconds, line.Seed, line.Day)
	}
	for _, line := range lines {
		if had[schedule(line)] == nil {
			had[schedule(line)] = map[string]bool{}
		}
		had[schedule(line)][line.system()] = true
	}
	var beside []Line
	for _, line := range lines {
		if systems := had[schedule(line)]; systems[ours] && len(systems) > 1 {
			beside = append(beside, line)
		}
	}
	return beside
}

// columns is the head of a table: what its rows are, and what its columns are.
func columns(text *strings.Builder, of string, names []string) {
	fmt.Fprintf(text, "| %s | %s |\n|---|%s\n", of, strings.Join(names, " | "), strings.Repeat("---|", len(names)))
}

// perSystem says what each system did in these runs.
func perSystem(text *strings.Builder, lines []Line) {
	sums := map[string]*sum{}
	for _, line := range lines {
		sumOf(sums, line.system()+" "+line.Workload).add(line)
	}
	table(text, "system, workload", sums)
}

// recoveries says what each fault cost, a column for each system.
func recoveries(text *strings.Builder, lines []Line) {
	times := map[string]map[string][]time.Duration{} // by fault, by system
	systems := map[string]bool{}
	for _, line := range lines {
		systems[line.system()] = true
		for name, seconds := range line.Recoveries {
			if times[name] == nil {
				times[name] = map[string][]time.Duration{}
			}
			for _, each := range seconds {
				times[name][line.system()] = append(times[name][line.system()], time.Duration(each*float64(time.Second)))
			}
		}
	}
	columns(text, "fault", sorted(systems))
	for _, name := range sorted(times) {
		fmt.Fprintf(text, "| %s |", name)
		for _, system := range sorted(systems) {
			if all := times[name][system]; len(all) > 0 {
				middle, greatest := Middle(all)
				fmt.Fprintf(text, " %d: %.2f s, %.2f s |", len(all), middle.Seconds(), greatest.Seconds())
			} else {
				text.WriteString(" |")
			}
		}
		text.WriteString("\n")
	}
}

// runs lists each run with what replays it.
func runs(text *strings.Builder, lines []Line) {
	text.WriteString("\n## Runs\n| day | verdict | acknowledged | faults | replay |\n|---|---|---|---|---|\n")
	for _, line := range lines {
		verdict := "passed"
		if !line.Passed {
			verdict = "FAILED: " + line.Why
		}
		fmt.Fprintf(text, "| %s | %s | %d | %d | `%s` |\n", line.Day, verdict, line.OK, line.Faults, line.Replay)
	}
}

func sorted[T any](of map[string]T) []string {
	var names []string
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
