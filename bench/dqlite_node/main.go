// A node of a dqlite cluster with go-dqlite's defaults, as its documentation says to run one: the first founds the cluster, the
// others name it. With -http it is an application, as dqlite is meant to be used: in the same process a server executes
// transactions. It speaks as much of the protocol of D1 bindings as jepsen/'s workloads use, so that they run on dqlite as they
// are. Runs until SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/canonical/go-dqlite/app"
)

var (
	dir     = flag.String("dir", "", "of the node's data")
	address = flag.String("address", "", "host:port that the node listens on")
	join    = flag.String("join", "", "host:port of a node that is there; empty: the first")
	listen  = flag.String("http", "", "host:port for transactions; empty: none")
)

func run() error {
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	options := []app.Option{app.WithAddress(*address)}
	if *join != "" {
		options = append(options, app.WithCluster([]string{*join}))
	}
	node, err := app.New(*dir, options...)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	if *listen != "" {
		go func() { failed <- serve(node) }() // ready or not: /members tells
	} else if err := node.Ready(context.Background()); err != nil {
		return err
	} else {
		fmt.Println("ready")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	select {
	case err := <-failed:
		return err
	case <-stop:
		return node.Close()
	}
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dqlite_node:", err)
		os.Exit(1)
	}
}
