package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"sort"
	"time"

	"bindery/jepsen/history"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

const (
	plotWidth, plotHeight = 1000, 260
	latencyLow            = 100 * time.Microsecond // bottom of the logarithmic axis
	latencyHigh           = 30 * time.Second
	pointsMax             = 6000 // of one outcome; more are thinned out evenly
)

type point struct{ X, Y float64 }

type series struct {
	Name   string
	Points []point
	Line   string
	Count  int
}

type strip struct {
	Band
	X, Width float64
}

type tick struct {
	At    float64
	Label string
}

type faultRow struct {
	Name             string
	Count            int
	Middle, Greatest time.Duration
}

type view struct {
	Run
	Width, Height  int
	Strips         []strip
	Latency, Rates []series
	Seconds, Sizes []tick
	RateTicks      []tick
	FaultRows      []faultRow
	Verdict        string
	CountRows      []string
}

// Write makes the page.
func Write(out io.Writer, run Run) error { return page.Execute(out, build(run)) }

func build(run Run) view {
	v := view{Run: run, Width: plotWidth, Height: plotHeight, Verdict: "passed"}
	if !run.Passed {
		v.Verdict = "FAILED"
	}
	span := end(run.Events)
	if span == 0 {
		span = time.Second
	}
	x := func(at time.Duration) float64 { return round(float64(at) / float64(span) * plotWidth) }
	for _, band := range Bands(run.Events) {
		v.Strips = append(v.Strips, strip{Band: band, X: x(band.From), Width: math.Max(2, x(band.To)-x(band.From))})
	}
	operations := history.Operations(run.Events)
	v.Latency = latencies(operations, x)
	v.Rates, v.RateTicks = rates(operations, x, span)
	for second := time.Duration(0); second <= span; second += step(span) {
		v.Seconds = append(v.Seconds, tick{x(second), fmt.Sprintf("%.0f s", second.Seconds())})
	}
	for _, size := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second} {
		v.Sizes = append(v.Sizes, tick{latencyY(size), size.String()})
	}
	v.FaultRows = faultRows(run.Events)
	for name, count := range run.Counts {
		v.CountRows = append(v.CountRows, fmt.Sprintf("%s: %d", name, count))
	}
	sort.Strings(v.CountRows)
	return v
}

func round(value float64) float64 { return math.Round(value*10) / 10 }

func step(span time.Duration) time.Duration {
	for _, each := range []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute} {
		if span/each <= 12 {
			return each
		}
	}
	return 30 * time.Minute
}

func latencyY(latency time.Duration) float64 {
	share := math.Log(float64(latency)/float64(latencyLow)) / math.Log(float64(latencyHigh)/float64(latencyLow))
	return round(plotHeight * (1 - math.Min(1, math.Max(0, share))))
}

var outcomes = []history.Type{history.OK, history.Fail, history.Info}

// latencies are one cloud of points for each outcome: when an operation began, and how long it took.
func latencies(operations []history.Operation, x func(time.Duration) float64) []series {
	clouds := map[history.Type][]point{}
	for _, operation := range operations {
		if operation.End == nil {
			continue
		}
		at := point{x(operation.Time), latencyY(operation.End.Time - operation.Time)}
		clouds[operation.Outcome] = append(clouds[operation.Outcome], at)
	}
	var out []series
	for _, outcome := range outcomes {
		all := clouds[outcome]
		one := series{Name: string(outcome), Count: len(all)}
		every := 1 + len(all)/pointsMax
		for i := 0; i < len(all); i += every {
			one.Points = append(one.Points, all[i])
		}
		out = append(out, one)
	}
	return out
}

// rates are completions of each outcome per second.
func rates(operations []history.Operation, x func(time.Duration) float64, span time.Duration) ([]series, []tick) {
	buckets := int(span/time.Second) + 1
	counts := map[history.Type][]int{}
	most := 1
	for _, outcome := range outcomes {
		counts[outcome] = make([]int, buckets)
	}
	for _, operation := range operations {
		if operation.End == nil {
			continue
		}
		second := int(operation.End.Time / time.Second)
		counts[operation.Outcome][second]++
		if counts[operation.Outcome][second] > most {
			most = counts[operation.Outcome][second]
		}
	}
	y := func(count int) float64 { return round(plotHeight * (1 - float64(count)/float64(most))) }
	var out []series
	for _, outcome := range outcomes {
		one := series{Name: string(outcome)}
		for second, count := range counts[outcome] {
			one.Count += count
			one.Line += fmt.Sprintf("%.1f,%.1f ", x(time.Duration(second)*time.Second), y(count))
		}
		out = append(out, one)
	}
	return out, []tick{{y(most), fmt.Sprintf("%d/s", most)}, {y(most / 2), fmt.Sprintf("%d/s", most/2)}}
}

func faultRows(events []history.Event) []faultRow {
	var rows []faultRow
	for name, times := range Recoveries(events) {
		middle, greatest := Middle(times)
		rows = append(rows, faultRow{name, len(times), middle.Round(time.Millisecond), greatest.Round(time.Millisecond)})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Name < rows[j].Name })
	return rows
}
