package nemesis

import (
	"fmt"

	"bindery/jepsen/cluster"
)

// join lets one more node join a whole cluster; healed, it is decommissioned again.
func join(n *Nemesis) (string, func() error, error) {
	if err := n.cluster.WaitWhole(replaceWait); err != nil {
		return "", nil, err
	}
	heal := func() error {
		err := n.cluster.WaitSpare()
		if err == nil {
			err = n.cluster.LeaveSpare()
		}
		if err == nil {
			err = n.cluster.WaitWhole(replaceWait)
		}
		return err
	}
	return "one more", heal, n.cluster.JoinSpare()
}

// decommission has one of the nodes leave, with one more to take its share; healed, an empty one joins in its place, and the one
// more leaves.
func decommission(n *Nemesis) (string, func() error, error) {
	err := n.cluster.WaitWhole(replaceWait)
	if err == nil {
		err = n.cluster.JoinSpare()
	}
	if err == nil {
		err = n.cluster.WaitSpare()
	}
	if err != nil {
		return "", nil, err
	}
	victim := n.cluster.Node(1 + n.rng.Intn(n.cluster.Nodes))
	heal := func() error {
		err := n.cluster.Rejoin(victim)
		if err == nil {
			err = n.cluster.WaitSpare()
		}
		if err == nil {
			err = n.cluster.LeaveSpare()
		}
		if err == nil {
			err = n.cluster.WaitWhole(replaceWait)
		}
		return err
	}
	return fmt.Sprintf("node %d", victim.Number), heal, n.cluster.Decommission(victim)
}

// drain has a minority give its leaderships away and take none.
func drain(n *Nemesis) (string, func() error, error) {
	return each(n, n.victims(false), n.cluster.Drain, n.cluster.Undrain)
}

// upgrade stops a node that still runs the old program and starts it with the new one; when all have it, it restarts one.
func upgrade(n *Nemesis) (string, func() error, error) {
	victim := n.cluster.Node(1 + n.rng.Intn(n.cluster.Nodes))
	for number := 1; number <= n.cluster.Nodes && !victim.Old(); number++ {
		if n.cluster.Node(number).Old() {
			victim = n.cluster.Node(number)
		}
	}
	what := "restarted"
	if victim.Old() {
		what = "upgraded"
	}
	return fmt.Sprintf("node %d %s", victim.Number, what), func() error { return nil }, victim.Upgrade()
}

// killWorkerd ends one of the workerds; its objects wait for its lease.
func killWorkerd(n *Nemesis) (string, func() error, error) {
	victim := n.cluster.Workerd(1 + n.rng.Intn(cluster.Workerds))
	return fmt.Sprint(victim.Number), victim.Start, victim.Kill()
}
