// Package loop is the closed loop that bench's load generators in Go share: clients with one request in flight each,
// measured after a warm-up, told as one line of JSON with the fields of bench/s3_load.c.
package loop

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"sync"
	"syscall"
	"time"
)

// Step makes a client's request number count and checks its answer. more: false ends the client without a request.
type Step func(client, count int) (more bool, err error)

// Timing of a run.
type Timing struct {
	Warmup  time.Duration // before what is measured
	Measure time.Duration // answers within it count; 0: until every client has ended, then all is measured
}

type result struct {
	latencies []time.Duration
	answered  int // also what is not measured
	errors    int
	last      error
}

func (timing Timing) client(number int, begun time.Time, step Step) result {
	var out result
	from, until := begun.Add(timing.Warmup), begun.Add(timing.Warmup+timing.Measure)
	whole := timing.Measure == 0
	for count := 0; ; count++ {
		asked := time.Now()
		if !whole && !asked.Before(until) {
			return out
		}
		more, err := step(number, count)
		if !more {
			return out
		}
		out.answered++
		if answered := time.Now(); err != nil {
			out.errors++
			out.last = err
		} else if whole || (!answered.Before(from) && !answered.After(until)) {
			out.latencies = append(out.latencies, answered.Sub(asked))
		}
	}
}

// at is the latency that a share of all is not above; sorted rises.
func at(sorted []time.Duration, share float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(float64(len(sorted)-1)*share)].Microseconds()
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// Run lets the clients go and prints their line, with what the caller says of the run. It returns the number of
// requests that failed; the last failure of each client goes to stderr.
func Run(clients int, timing Timing, said map[string]any, step Step) int {
	cpu, begun := cpuSeconds(), time.Now()
	results := make([]result, clients)
	var all sync.WaitGroup
	for i := range results {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			results[i] = timing.client(i, begun, step)
		}(i)
	}
	all.Wait()
	wall := time.Since(begun).Seconds()
	var sorted []time.Duration
	errors, answered := 0, 0
	for _, r := range results {
		sorted = append(sorted, r.latencies...)
		errors += r.errors
		answered += r.answered
		if r.last != nil {
			fmt.Fprintln(os.Stderr, r.last)
		}
	}
	sort.Slice(sorted, func(a, b int) bool { return sorted[a] < sorted[b] })
	measured := timing.Measure.Seconds()
	if measured == 0 {
		measured = wall
	}
	line := map[string]any{
		"clients": clients, "ops": len(sorted), "answered": answered, "per_s": float64(len(sorted)) / measured,
		"p50_us": at(sorted, 0.5), "p99_us": at(sorted, 0.99), "max_us": at(sorted, 1), "errors": errors,
		"cpu_s": cpuSeconds() - cpu, "wall_s": wall,
	}
	for name, value := range said {
		line[name] = value
	}
	_ = json.NewEncoder(os.Stdout).Encode(line)
	return errors
}

// Seconds is a duration from a flag in seconds.
func Seconds(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
