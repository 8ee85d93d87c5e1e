// The same closed loop as bench/s3_load.c against etcd: each client has one connection of its own (or shares one of
// --conns) to one endpoint, and one request in flight. Prints the same line of JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	endpoints = flag.String("endpoints", "", "host:port, comma-separated")
	first     = flag.Int("first", 0, "endpoint of connection 0")
	clients   = flag.Int("clients", 1, "closed loops")
	conns     = flag.Int("conns", 0, "connections; 0: one per client")
	keys      = flag.Int("keys", 1000, "keys")
	size      = flag.Int("bytes", 1024, "of a value")
	seconds   = flag.Float64("seconds", 5, "measured")
	warmup    = flag.Float64("warmup", 1, "before it")
	op        = flag.String("op", "put", "put, get (linearizable) or fill")
)

// body is what key number holds: the bytes bench/s3_load.c puts there, too.
func body(number int) []byte {
	out := make([]byte, *size)
	x := uint64(number)*0x9E3779B97F4A7C15 + 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x >> 32)
	}
	return out
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

type result struct {
	latencies []time.Duration
	errors    int
	last      error
}

// call makes one request and checks its answer.
func call(client *clientv3.Client, name, value string) error {
	if *op != "get" {
		_, err := client.Put(context.Background(), name, value)
		return err
	}
	answer, err := client.Get(context.Background(), name)
	if err == nil && (len(answer.Kvs) != 1 || !bytes.Equal(answer.Kvs[0].Value, []byte(value))) {
		err = fmt.Errorf("%s: wrong answer", name)
	}
	return err
}

func loop(client *clientv3.Client, number int, from, until time.Time, names, values []string) result {
	var out result
	key := number * 7919 % *keys
	for {
		if *op == "fill" {
			if number >= *keys {
				return out
			}
			key, number = number, number+*clients
		} else {
			key = int((uint64(key) + 2654435761) % uint64(*keys))
		}
		begun := time.Now()
		if *op != "fill" && !begun.Before(until) {
			return out
		}
		err := call(client, names[key], values[key])
		ended := time.Now()
		if err != nil {
			out.errors++
			out.last = err
		} else if !begun.Before(from) && (*op == "fill" || !ended.After(until)) {
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
	list := strings.Split(*endpoints, ",")
	if *conns == 0 {
		*conns = *clients
	}
	names, values := make([]string, *keys), make([]string, *keys)
	for i := range names {
		names[i], values[i] = fmt.Sprintf("k%08d", i), string(body(i))
	}
	connections := make([]*clientv3.Client, *conns)
	for i := range connections {
		client, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{list[(*first+i)%len(list)]},
			DialTimeout: 5 * time.Second,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "etcd_load:", err)
			os.Exit(2)
		}
		connections[i] = client
	}
	cpu, begun := cpuSeconds(), time.Now()
	from := begun.Add(time.Duration(*warmup * 1e9))
	until := from.Add(time.Duration(*seconds * 1e9))
	if *op == "fill" {
		from = begun
	}
	results := make([]result, *clients)
	var all sync.WaitGroup
	for i := range results {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			results[i] = loop(connections[i%*conns], i, from, until, names, values)
		}(i)
	}
	all.Wait()
	wall := time.Since(begun).Seconds()
	var sorted []time.Duration
	errors := 0
	for _, r := range results {
		sorted = append(sorted, r.latencies...)
		errors += r.errors
		if r.last != nil {
			fmt.Fprintln(os.Stderr, "etcd_load:", r.last)
		}
	}
	sort.Slice(sorted, func(a, b int) bool { return sorted[a] < sorted[b] })
	measured := *seconds
	if *op == "fill" {
		measured = wall
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"op": *op, "clients": *clients, "conns": *conns, "ops": len(sorted), "per_s": float64(len(sorted)) / measured,
		"p50_us": at(sorted, 0.5), "p99_us": at(sorted, 0.99), "max_us": at(sorted, 1), "errors": errors,
		"cpu_s": cpuSeconds() - cpu, "wall_s": wall,
	})
	if errors > 0 {
		os.Exit(1)
	}
}
