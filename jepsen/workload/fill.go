package workload

import (
	"fmt"
	"sync"
	"time"

	"bindery/jepsen/s3"
)

const (
	fillBucket  = "ballast"
	fillObjects = 1600
	fillSize    = 60 << 10 // kept in the state, not in the body store
	fillClients = 8
)

// Fill puts so much into the state that every node has written tables of it: before that there is nothing that can be damaged.
func (run *Run) Fill() error {
	first := run.worker(1, run.Seed)
	defer first.close()
	if _, _, err := first.Client.Write(s3.Request{Method: "PUT", Path: fillBucket}); err != nil {
		return fmt.Errorf("the ballast: %w", err)
	}
	var all sync.WaitGroup
	for client := 0; client < fillClients; client++ {
		worker := run.worker(1+client%run.Cluster.Nodes, run.Seed)
		from := client
		all.Add(1)
		go func() {
			defer all.Done()
			defer worker.close()
			for number := from; number < fillObjects; number += fillClients { // one that fails is not missed
				_, _, _ = worker.Client.Write(s3.Request{Method: "PUT", Path: fmt.Sprintf("%s/%d", fillBucket, number),
					Body: s3.Body(int64(number), fillSize)})
			}
		}()
	}
	all.Wait()
	return run.Cluster.Wait("tables of the state on every node", time.Minute, func() bool {
		for node := 1; node <= run.Cluster.Nodes; node++ {
			if !run.Cluster.Node(node).HasTables() {
				return false
			}
		}
		return true
	})
}
