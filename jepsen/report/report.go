// Package report shows a run to people: one page with latency and throughput over time, bands where faults were, the
// verdict, and how to replay it.
package report

import (
	"sort"
	"strings"
	"time"

	"bindery/jepsen/history"
)

// Run is what a page is made of.
type Run struct {
	System            string // "": Bindery
	Workload, Nemesis string
	Seed              int64
	Nodes, Workers    int
	Disks             string
	Commit            string // of the sources that ran it; "": nobody knows
	Seconds           time.Duration
	Began             time.Time
	Replay            string
	Passed            bool
	Counts            map[string]int
	Faults            int
	Stops             int // deliberate stops of nodes, each started again
	Whole             time.Duration
	Anomalies         []string
	Undecided         []string
	Aborts            []string
	TooLittle         bool
	Notes             []string // what a checker measured
	Events            []history.Event
}

// Band is the time in which a fault was there.
type Band struct {
	Name, What string
	From, To   time.Duration
}

const endMark = "-end"

// Bands of the nemesis' notes, in order of their beginning. A fault that was never healed lasts to the end.
func Bands(events []history.Event) []Band {
	var bands []Band
	open := map[string]int{}
	for _, event := range events {
		if event.Process != history.NemesisProcess {
			continue
		}
		name := strings.TrimSuffix(event.F, endMark)
		if name != event.F {
			if at, ok := open[name]; ok {
				bands[at].To = event.Time
				delete(open, name)
			}
			continue
		}
		what := ""
		if text, ok := event.Value.(history.Text); ok {
			what = string(text)
		}
		open[name] = len(bands)
		bands = append(bands, Band{Name: name, What: what, From: event.Time, To: -1})
	}
	for i := range bands {
		if bands[i].To < 0 {
			bands[i].To = end(events)
		}
	}
	return bands
}

func end(events []history.Event) time.Duration {
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].Time
}

// reads are operations that change nothing: they say nothing about when writes go on.
var reads = map[string]bool{"read": true, "final": true, "list": true, "look": true, "rows": true, "plans": true}

// settle is how long after its end a fault can still be the reason of a gap.
const settle = 10 * time.Second

// Acknowledged says when writes were, in order.
func Acknowledged(events []history.Event) []time.Duration {
	var times []time.Duration
	for _, operation := range history.Operations(events) {
		if operation.Outcome == history.OK && !reads[operation.F] {
			times = append(times, operation.End.Time)
		}
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times
}

// Recoveries gives, for each fault, the longest time in which no client at all had a write acknowledged, counted
// while the fault was there and shortly after: what the fault cost everybody.
func Recoveries(events []history.Event) map[string][]time.Duration {
	acknowledged := Acknowledged(events)
	tried := time.Duration(0) // the last that began: after that nobody would have noticed
	for _, operation := range history.Operations(events) {
		if !reads[operation.F] && tried < operation.Time {
			tried = operation.Time
		}
	}
	out := map[string][]time.Duration{}
	for _, band := range Bands(events) {
		out[band.Name] = append(out[band.Name], longestGap(acknowledged, band.From, band.To+settle, tried))
	}
	return out
}

// longestGap between times from a time on, up to the first behind another; without any more, up to the end.
func longestGap(times []time.Duration, from, to, end time.Duration) time.Duration {
	last, longest := from, time.Duration(0)
	for at := sort.Search(len(times), func(i int) bool { return times[i] >= from }); at < len(times); at++ {
		if gap := times[at] - last; gap > longest {
			longest = gap
		}
		if last = times[at]; last > to {
			return longest
		}
	}
	if end > to {
		end = to
	}
	if gap := end - last; gap > longest {
		longest = gap
	}
	return longest
}

// Middle and greatest of some times.
func Middle(times []time.Duration) (middle, greatest time.Duration) {
	if len(times) == 0 {
		return 0, 0
	}
	sorted := append([]time.Duration(nil), times...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}
