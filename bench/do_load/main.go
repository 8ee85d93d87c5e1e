// A closed loop of increments of Durable Objects: POST /<object>?id=<unique>, object n always through the same worker.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"bindery/bench/loop"
)

var (
	urls    = flag.String("urls", "", "of the workers, comma-separated")
	clients = flag.Int("clients", 1, "closed loops")
	objects = flag.Int("objects", 1, "objects")
	name    = flag.String("name", "o", "of the objects, before their numbers")
	seconds = flag.Float64("seconds", 3, "measured")
	warmup  = flag.Float64("warmup", 1, "before it")
)

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

func main() {
	flag.Parse()
	workers := strings.Split(*urls, ",")
	connections := make([]*http.Client, *clients)
	for i := range connections {
		connections[i] = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: time.Minute}
	}
	timing := loop.Timing{Warmup: loop.Seconds(*warmup), Measure: loop.Seconds(*seconds)}
	loop.Run(*clients, timing, map[string]any{"objects": *objects}, func(client, count int) (bool, error) {
		object := (client + count) % *objects
		url := fmt.Sprintf("%s/%s%d?id=%d-%d-%d&alarm=3600000", workers[object%len(workers)], *name, object, os.Getpid(),
			client, count)
		return true, increment(connections[client], url)
	})
}
