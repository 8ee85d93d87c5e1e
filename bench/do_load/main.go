// A closed loop of increments of Durable Objects: POST /<object>?id=<unique>, object n always through the same worker. Prints
// a line of JSON like bench/s3_load.c.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	urls    = flag.String("urls", "", "of the workers, comma-separated")
	clients = flag.Int("clients", 1, "closed loops")
	objects = flag.Int("objects", 1, "objects")
	name    = flag.String("name", "o", "of the objects, before their numbers")
	seconds = flag.Float64("seconds", 3, "measured")
	warmup  = flag.Float64("warmup", 1, "before it")
)

type result struct {
	latencies []time.Duration
	errors    int
	last      error
}

func increment(client *http.Client, url string) error {
	response, err := client.Post(url, "text/plain", nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", response.StatusCode, body)
	}
	return err
}

func loop(number int, from, until time.Time) result {
	var out result
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: 60 * time.Second}
	workers := strings.Split(*urls, ",")
	for count := 0; ; count++ {
		begun := time.Now()
		if !begun.Before(until) {
			return out
		}
		object := (number + count) % *objects
		url := fmt.Sprintf("%s/%s%d?id=%d-%d-%d&alarm=3600000", workers[object%len(workers)], *name, object, os.Getpid(), number, count)
		err := increment(client, url)
		if ended := time.Now(); err != nil {
			out.errors++
			out.last = err
		} else if !begun.Before(from) && !ended.After(until) {
			out.latencies = append(out.latencies, ended.Sub(begun))
		}
	}
}

func at(sorted []time.Duration, share float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(float64(len(sorted)-1)*share)].Microseconds()
}

func main() {
	flag.Parse()
	begun := time.Now()
	from := begun.Add(time.Duration(*warmup * 1e9))
	until := from.Add(time.Duration(*seconds * 1e9))
	results := make([]result, *clients)
	var all sync.WaitGroup
	for i := range results {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			results[i] = loop(i, from, until)
		}(i)
	}
	all.Wait()
	var sorted []time.Duration
	errors := 0
	for _, r := range results {
		sorted = append(sorted, r.latencies...)
		errors += r.errors
		if r.last != nil {
			fmt.Fprintln(os.Stderr, "do_load:", r.last)
		}
	}
	sort.Slice(sorted, func(a, b int) bool { return sorted[a] < sorted[b] })
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"clients": *clients, "objects": *objects, "ops": len(sorted), "per_s": float64(len(sorted)) / *seconds,
		"p50_us": at(sorted, 0.5), "p99_us": at(sorted, 0.99), "max_us": at(sorted, 1), "errors": errors,
		"cpu_s": float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9, "wall_s": time.Since(begun).Seconds(),
	})
}
