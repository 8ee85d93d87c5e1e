package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"sort"
	"strings"
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

	laneHeight, axisHeight = 18, 40
	labelWidth, labelGap   = 6.4, 4 // of a letter, and around the text
	labelMax               = 24     // letters
	hues                   = 8      // colours of faults (page.html)
	reasonsShown           = 10
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
	Lane     int
	Label    string  // of the bar above the plot
	LabelX   float64 // where it begins
	Hue      int
}

func (s strip) BarY() int { return -(s.Lane + 1) * laneHeight }

type tick struct {
	At    float64
	Label string
}

// faultRow is a kind of fault in the legend.
type faultRow struct {
	Name, About      string
	Hue              int
	Count            int
	Middle, Greatest time.Duration
}

// outcomeRow is a kind of outcome in the legend.
type outcomeRow struct {
	Class, Word, About string
	Count              int
	Share              string
}

// OldBinary says whether the command names a program that the reader has to have.
func (v view) OldBinary() bool { return strings.Contains(v.Replay, " OLD") }

// Uncommitted says whether the sources had been changed since their commit.
func (v view) Uncommitted() bool { return strings.HasSuffix(v.Commit, "+") }

// reason why a run failed.
type reason struct{ Kind, Text string }

type view struct {
	Run
	About
	SystemAbout, SystemName string
	FaultWords              string
	Width, Height           int
	Top, Tall               int // of the plots: what is above them, and everything
	Strips                  []strip
	Latency, Rates          []series
	Seconds, Sizes          []tick
	RateTicks               []tick
	LoadEnd                 float64
	FaultRows               []faultRow
	Outcomes                []outcomeRow
	Reasons, MoreReasons    []reason
	Verdict                 string
}

// Write makes the page.
func Write(out io.Writer, run Run) error { return page.Execute(out, build(run)) }

func build(run Run) view {
	v := view{Run: run, About: workloads[run.Workload], SystemAbout: systems[run.System], SystemName: systemName(run.System),
		FaultWords: "no fault", Width: plotWidth, Height: plotHeight, Verdict: "passed"}
	if !run.Passed {
		v.Verdict = "FAILED"
	}
	if run.Nemesis != "none" {
		v.FaultWords = strings.ReplaceAll(run.Nemesis, ",", ", ")
	}
	span := end(run.Events)
	if span == 0 {
		span = time.Second
	}
	x := func(at time.Duration) float64 { return round(float64(at) / float64(span) * plotWidth) }
	v.FaultRows = faultRows(run.Events)
	v.Strips = strips(run.Events, v.FaultRows, x)
	lanes := 0
	for _, each := range v.Strips {
		if lanes <= each.Lane {
			lanes = each.Lane + 1
		}
	}
	v.Top = (lanes + 1) * laneHeight
	v.Tall = v.Top + plotHeight + axisHeight
	v.LoadEnd = math.Min(plotWidth, x(loadEnd(run)))
	operations := history.Operations(run.Events)
	v.Latency = latencies(operations, x)
	v.Rates, v.RateTicks = rates(operations, x, span)
	for second := time.Duration(0); second <= span; second += step(span) {
		v.Seconds = append(v.Seconds, tick{x(second), fmt.Sprintf("%.0f s", second.Seconds())})
	}
	for _, size := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second} {
		v.Sizes = append(v.Sizes, tick{latencyY(size), size.String()})
	}
	v.Outcomes = outcomeRows(operations)
	v.Reasons = reasons(run)
	if len(v.Reasons) > reasonsShown {
		v.Reasons, v.MoreReasons = v.Reasons[:reasonsShown], v.Reasons[reasonsShown:]
	}
	return v
}

// loadEnd is when clients and faults ended: what comes after it reads what is left.
func loadEnd(run Run) time.Duration {
	for _, event := range run.Events {
		if event.Type == history.Invoke {
			return event.Time + run.Seconds
		}
	}
	return run.Seconds
}

// strips are the bands as they are drawn: each a bar with its name in a lane above the plot, and a shade through it. Bars share a
// lane where neither they nor their names overlap.
func strips(events []history.Event, rows []faultRow, x func(time.Duration) float64) []strip {
	hues := map[string]int{}
	for _, row := range rows {
		hues[row.Name] = row.Hue
	}
	var out []strip
	var free []float64 // where each lane is free again
	for _, band := range Bands(events) {
		one := strip{Band: band, X: x(band.From), Width: math.Max(2, x(band.To)-x(band.From)), Hue: hues[band.Name],
			Label: strings.TrimSpace(band.Name + " " + shorten(band.What, labelMax))}
		room := float64(len([]rune(one.Label)))*labelWidth + 2*labelGap
		one.LabelX = math.Min(one.X+labelGap, plotWidth-room)
		for one.Lane < len(free) && free[one.Lane] > math.Min(one.X, one.LabelX) {
			one.Lane++
		}
		if one.Lane == len(free) {
			free = append(free, 0)
		}
		free[one.Lane] = math.Max(one.X+one.Width, one.LabelX+room)
		out = append(out, one)
	}
	return out
}

func shorten(text string, most int) string {
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most]) + "..."
	}
	return text
}

// reasons why a run failed, those that say most first.
func reasons(run Run) []reason {
	var all []reason
	for _, kind := range []struct {
		name  string
		texts []string
	}{{"anomaly", run.Anomalies}, {"abort", run.Aborts}, {"not decided", run.Undecided}} {
		for _, text := range kind.texts {
			all = append(all, reason{kind.name, text})
		}
	}
	if run.TooLittle {
		all = append(all, reason{"too little", "fewer operations were acknowledged, or fewer faults done, than a run needs to say anything"})
	}
	return all
}

var outcomeWords = map[history.Type][2]string{
	history.OK:   {"acknowledged", "the client was told that it is done: from here on it must never be lost or contradicted"},
	history.Fail: {"refused", "the client was told that it is not done (a condition that did not hold, say), and it must never show; or it was a read that got no answer"},
	history.Info: {"unknown outcome", "nobody knows whether it was done: the connection broke, or the answer was 503. Both are allowed, and it may still happen later; it may not happen twice, or half"},
}

func outcomeRows(operations []history.Operation) []outcomeRow {
	counts := map[history.Type]int{}
	for _, operation := range operations {
		counts[operation.Outcome]++
	}
	var rows []outcomeRow
	for _, outcome := range outcomes {
		words, share := outcomeWords[outcome], 0.0
		if len(operations) > 0 {
			share = 100 * float64(counts[outcome]) / float64(len(operations))
		}
		rows = append(rows, outcomeRow{Class: string(outcome), Word: words[0], About: words[1], Count: counts[outcome],
			Share: fmt.Sprintf("%.1f %%", share)})
	}
	return rows
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
		rows = append(rows, faultRow{Name: name, About: faults[name], Count: len(times), Middle: middle.Round(time.Millisecond),
			Greatest: greatest.Round(time.Millisecond)})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Name < rows[j].Name })
	for i := range rows {
		rows[i].Hue = i % hues
	}
	return rows
}
