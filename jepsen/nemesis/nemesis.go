// Package nemesis hurts a cluster on a schedule that follows from a seed, and heals it again.
package nemesis

import (
	"context"
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"time"

	"bindery/jepsen/cluster"
	"bindery/jepsen/history"
)

// Fault is one thing that can be wrong: begin makes it so on some of the nodes and says what it did, the function
// it returns makes it good again.
type fault func(n *Nemesis) (what string, heal func() error, err error)

// kind of a fault: how it is done, and what it needs.
type kind struct {
	do     fault
	needs  func(c *cluster.Cluster) bool
	wanted string // what needs wants
	extra  bool   // not of the faults that every workload of Bindery can meet
	ours   bool   // done by means that only Bindery has
	alone  bool   // needs a cluster that nothing else is wrong with
}

func disks(c *cluster.Cluster) bool  { return c.Disks != "" }
func clocks(c *cluster.Cluster) bool { return c.Clocks }

const wantDisks, wantClocks = "needs --disks ext4 or xfs", "needs a cluster whose clocks can be set"

var faults = map[string]kind{
	"clock":        {do: clock, needs: clocks, wanted: wantClocks},
	"clock-rate":   {do: clockRate, needs: clocks, wanted: wantClocks},
	"decommission": {do: decommission, alone: true, ours: true},
	"drain":        {do: drain, alone: true, ours: true},
	"flip":         {do: flip, alone: true, ours: true},
	"full":         {do: full, needs: disks, wanted: wantDisks},
	"join":         {do: join, alone: true, ours: true},
	"kill":         {do: kill},
	"oneway":       {do: oneway},
	"partition":    {do: partition},
	"pause":        {do: pause},
	"power":        {do: power, needs: disks, wanted: wantDisks},
	"power-all":    {do: powerAll, needs: disks, wanted: wantDisks},
	"replace":      {do: replace, alone: true, ours: true},
	"restart":      {do: restart, alone: true},
	"ring":         {do: ring},
	"slow":         {do: slow},
	"upgrade": {do: upgrade, alone: true, extra: true, wanted: "needs --old-binary",
		needs: func(c *cluster.Cluster) bool { return c.OldBinary != "" }},
	"workerd": {do: killWorkerd, extra: true, wanted: "needs a workload of Durable Objects",
		needs: (*cluster.Cluster).HasWorkerds},
}

// Names of the faults there are.
func Names() []string { return names(func(kind) bool { return true }) }

// Common are the names of those that every workload of Bindery can meet.
func Common() []string { return names(func(one kind) bool { return !one.extra }) }

func names(wanted func(kind) bool) []string {
	var names []string
	for name, one := range faults {
		if wanted(one) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Nemesis draws from the faults it was given.
type Nemesis struct {
	cluster *cluster.Cluster
	log     *history.Log
	rng     *rand.Rand
	drawn   []string
	count   int
	damaged []int // nodes whose files may be damaged: a minority
	rots    bool  // all bodies of a node at once
}

// New makes a nemesis of the named faults: words with commas; "none": no fault.
func New(c *cluster.Cluster, log *history.Log, seed int64, names string) (*Nemesis, error) {
	n := &Nemesis{cluster: c, log: log, rng: rand.New(rand.NewSource(seed))}
	for _, name := range strings.Split(names, ",") {
		if name == "none" {
			continue
		}
		one, known := faults[name]
		if !known {
			return nil, fmt.Errorf("unknown fault %q; there are %s", name, strings.Join(Names(), ", "))
		}
		if one.ours && c.System != "" {
			return nil, fmt.Errorf("%s: not to %s", name, c.System)
		}
		if one.needs != nil && !one.needs(c) {
			return nil, fmt.Errorf("%s %s", name, one.wanted)
		}
		n.drawn = append(n.drawn, name)
	}
	return n, nil
}

// Count of the faults that were done.
func (n *Nemesis) Count() int { return n.count }

// Run hurts until ctx ends and leaves everything healed: one fault after the other, and half the time, where the two allow it, a
// second one meanwhile. The error is about the harness or a node that could not be handled, not about the cluster's promises.
func (n *Nemesis) Run(ctx context.Context) error {
	for len(n.drawn) > 0 && n.pause(ctx, 3*time.Second, 6*time.Second) {
		first := n.drawn[n.rng.Intn(len(n.drawn))]
		begun, err := n.begin(first)
		if err != nil {
			return err
		}
		all := []func() error{begun}
		second := n.drawn[n.rng.Intn(len(n.drawn))]
		if n.rng.Intn(2) == 0 && second != first && !faults[first].alone && !faults[second].alone {
			n.pause(ctx, time.Second, 4*time.Second)
			begun, err := n.begin(second)
			if err != nil {
				return err
			}
			all = append(all, begun)
		}
		n.pause(ctx, 4*time.Second, 10*time.Second)
		n.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, heal := range all {
			if err := heal(); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return nil
}

// begin does a fault, and returns what heals it.
func (n *Nemesis) begin(name string) (func() error, error) {
	what, heal, err := faults[name].do(n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	n.log.Note(name, history.Text(what))
	n.count++
	return func() error {
		if err := heal(); err != nil {
			return fmt.Errorf("healing %s: %w", name, err)
		}
		n.log.Note(name+"-end", history.Text(what))
		return nil
	}, nil
}

// pause waits between low and high; false: ctx ended.
func (n *Nemesis) pause(ctx context.Context, low, high time.Duration) bool {
	select {
	case <-time.After(low + time.Duration(n.rng.Int63n(int64(high-low)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// victims draws the leader, one node, or a minority; sometimes, where all says so, a majority or every node.
func (n *Nemesis) victims(all bool) []int {
	nodes := n.rng.Perm(n.cluster.Nodes)
	for i := range nodes {
		nodes[i]++
	}
	switch draw := n.rng.Intn(10); {
	case draw < 4:
		if leader := n.cluster.Leader(); leader != 0 {
			return []int{leader}
		}
		return nodes[:1]
	case draw < 7 || !all:
		return nodes[:1+n.rng.Intn((len(nodes)-1)/2)]
	case draw < 9:
		return nodes[:len(nodes)/2+1]
	default:
		return nodes
	}
}
