// A node of a dqlite cluster with go-dqlite's defaults, as its documentation says to run one: the first founds the
// cluster, the others name it. Runs until SIGTERM.
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
	address = flag.String("address", "", "host:port that it listens on")
	join    = flag.String("join", "", "host:port of a node that is there; empty: the first")
)

func run() error {
	options := []app.Option{app.WithAddress(*address)}
	if *join != "" {
		options = append(options, app.WithCluster([]string{*join}))
	}
	node, err := app.New(*dir, options...)
	if err != nil {
		return err
	}
	if err := node.Ready(context.Background()); err != nil {
		return err
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	return node.Close()
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dqlite_node:", err)
		os.Exit(1)
	}
}
