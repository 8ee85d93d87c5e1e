// A dqlite application: a node of a dqlite cluster with go-dqlite's defaults, and in the same process, as dqlite is meant to be
// used, a server that executes transactions. It speaks as much of the protocol of D1 bindings as jepsen/'s workloads use, so that
// they run on dqlite as they are. The first node founds the cluster, the others name it. Runs until SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/canonical/go-dqlite/app"
	"github.com/canonical/go-dqlite/client"
)

var (
	dir     = flag.String("dir", "", "of the node's data")
	address = flag.String("address", "", "host:port that the node listens on")
	join    = flag.String("join", "", "host:port of a node that is there; empty: the first")
	listen  = flag.String("http", "", "host:port for transactions")
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
	server := &server{node: node}
	http.HandleFunc("/query", server.transaction)
	http.HandleFunc("/execute", server.transaction)
	http.HandleFunc("/members", server.members)
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(*listen, nil) }()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	select {
	case err := <-failed:
		return err
	case <-stop:
		return node.Close()
	}
}

// members answers "voters leader": how many vote, and the address of the leader.
func (s *server) members(out http.ResponseWriter, request *http.Request) {
	ctx, cancel := context.WithTimeout(request.Context(), 2*time.Second)
	defer cancel()
	leader, err := s.node.Leader(ctx)
	if err != nil {
		http.Error(out, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer leader.Close()
	nodes, err := leader.Cluster(ctx)
	info, told := leader.Leader(ctx)
	if err != nil || told != nil || info == nil {
		http.Error(out, fmt.Sprint(err, told), http.StatusServiceUnavailable)
		return
	}
	voters := 0
	for _, node := range nodes {
		if node.Role == client.Voter {
			voters++
		}
	}
	fmt.Fprintln(out, voters, info.Address)
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dqlite_app:", err)
		os.Exit(1)
	}
}
