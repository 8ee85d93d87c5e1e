package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"
)

// Line is what the list of runs keeps of one: a line of JSON each.
type Line struct {
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
	Recoveries map[string][]float64 // seconds, for each fault
}

// Summary of a run, for the list.
func Summary(run Run) Line {
	line := Line{Workload: run.Workload, Nemesis: run.Nemesis, Seed: run.Seed, Nodes: run.Nodes,
		Seconds: run.Seconds.Seconds(), Day: run.Began.Format("2006-01-02"), OK: run.Counts["ok"],
		Fail: run.Counts["fail"], Info: run.Counts["info"], Faults: run.Faults, Stops: run.Stops,
		Anomalies: len(run.Anomalies), Undecided: len(run.Undecided), Aborts: len(run.Aborts), Passed: run.Passed,
		Recoveries: map[string][]float64{}}
	for name, times := range Recoveries(run.Events) {
		for _, each := range times {
			line.Recoveries[name] = append(line.Recoveries[name], each.Seconds())
		}
	}
	return line
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

// Markdown is the list as people read it.
func Markdown(out io.Writer, lines []Line) error {
	text := &strings.Builder{}
	text.WriteString("# Results of jepsen/\nMade by `jepsen/run --summary`, from the runs in `results.jsonl`; each was one of the present program against five or three nodes, as its line says.\n\n")
	text.WriteString("| workload | runs | failed | minutes of load | acknowledged | refused | unknown outcome | faults | deliberate stops | anomalies | undecided | aborts |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	sums, total := map[string]*sum{}, &sum{}
	recoveries := map[string][]time.Duration{}
	for _, line := range lines {
		if sums[line.Workload] == nil {
			sums[line.Workload] = &sum{}
		}
		sums[line.Workload].add(line)
		total.add(line)
		for name, times := range line.Recoveries {
			for _, each := range times {
				recoveries[name] = append(recoveries[name], time.Duration(each*float64(time.Second)))
			}
		}
	}
	for _, name := range sorted(sums) {
		text.WriteString(sums[name].row(name))
	}
	text.WriteString(total.row("all"))
	text.WriteString("\nUnknown outcome: of all operations; a run in which most are says little, and one with too few acknowledged ones does not count.\n\n")
	text.WriteString("Longest time in which no client had any write acknowledged, while a fault was there and 10 s after:\n\n| fault | times | p50 | max |\n|---|---|---|---|\n")
	for _, name := range sorted(recoveries) {
		middle, greatest := Middle(recoveries[name])
		fmt.Fprintf(text, "| %s | %d | %.2f s | %.2f s |\n", name, len(recoveries[name]), middle.Seconds(), greatest.Seconds())
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func sorted[T any](of map[string]T) []string {
	var names []string
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
