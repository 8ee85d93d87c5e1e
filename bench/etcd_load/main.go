// The same closed loop as bench/s3_load.c against etcd: each client has one connection of its own (or shares one of
// --conns) to one endpoint, and one request in flight.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"bindery/bench/loop"
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

// keyOf is the key of a client's request number count: each one once to fill, else all over the keys.
func keyOf(client, count int) int {
	if *op == "fill" {
		return client + count**clients
	}
	start := uint64(client * 7919 % *keys)
	return int((start + uint64(count+1)*2654435761) % uint64(*keys))
}

func connect() []*clientv3.Client {
	list := strings.Split(*endpoints, ",")
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
	return connections
}

func main() {
	flag.Parse()
	if *conns == 0 {
		*conns = *clients
	}
	names, values := make([]string, *keys), make([]string, *keys)
	for i := range names {
		names[i], values[i] = fmt.Sprintf("k%08d", i), string(body(i))
	}
	connections := connect()
	timing := loop.Timing{Warmup: loop.Seconds(*warmup), Measure: loop.Seconds(*seconds)}
	if *op == "fill" {
		timing = loop.Timing{}
	}
	said := map[string]any{"op": *op, "conns": *conns}
	errors := loop.Run(*clients, timing, said, func(client, count int) (bool, error) {
		key := keyOf(client, count)
		if key >= *keys {
			return false, nil
		}
		return true, call(connections[client%*conns], names[key], values[key])
	})
	if errors > 0 {
		os.Exit(1)
	}
}
