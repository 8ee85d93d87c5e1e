package nemesis

import (
	"fmt"
	"syscall"
	"time"

	"bindery/jepsen/cluster"
)

// each does something to every victim, and its contrary to each of them when healed.
func each(n *Nemesis, victims []int, begin, end func(*cluster.Node) error) (string, func() error, error) {
	what := fmt.Sprint(victims)
	for _, victim := range victims {
		if err := begin(n.cluster.Node(victim)); err != nil {
			return what, nil, err
		}
	}
	return what, func() error {
		for _, victim := range victims {
			if err := end(n.cluster.Node(victim)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func kill(n *Nemesis) (string, func() error, error) {
	return each(n, n.victims(true), (*cluster.Node).Kill, (*cluster.Node).Start)
}

func restart(n *Nemesis) (string, func() error, error) {
	return each(n, n.victims(false), (*cluster.Node).Stop, (*cluster.Node).Start)
}

func pause(n *Nemesis) (string, func() error, error) {
	return each(n, n.victims(true),
		func(node *cluster.Node) error { return node.Signal(syscall.SIGSTOP) }, // one that is dead stays so
		func(node *cluster.Node) error { return node.Signal(syscall.SIGCONT) })
}

// clock moves the wall clocks of the victims, by anything from below what is tolerated to hours, ahead or behind.
func clock(n *Nemesis) (string, func() error, error) {
	steps := []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second, time.Minute, 3 * time.Hour}
	ahead := steps[n.rng.Intn(len(steps))]
	if n.rng.Intn(2) == 0 {
		ahead = -ahead
	}
	what, heal, err := setClocks(n, ahead, 1)
	return fmt.Sprintf("%s %+v", what, ahead), heal, err
}

// clockRate lets the wall clocks of the victims run slower or faster, the monotonic ones not.
func clockRate(n *Nemesis) (string, func() error, error) {
	rates := []float64{0.5, 0.9, 0.99, 1.01, 1.1, 2}
	rate := rates[n.rng.Intn(len(rates))]
	what, heal, err := setClocks(n, 0, rate)
	return fmt.Sprintf("%s x%g", what, rate), heal, err
}

func setClocks(n *Nemesis, ahead time.Duration, rate float64) (string, func() error, error) {
	return each(n, n.victims(true),
		func(node *cluster.Node) error { return node.SetClock(ahead, rate) },
		func(node *cluster.Node) error { return node.SetClock(0, 1) })
}

// slow makes all links of a minority slow, by something between a LAN's and what elections wait for.
func slow(n *Nemesis) (string, func() error, error) {
	delays := []time.Duration{5 * time.Millisecond, 30 * time.Millisecond, 120 * time.Millisecond, 500 * time.Millisecond}
	side, delay := n.victims(false), delays[n.rng.Intn(len(delays))]
	err := n.cluster.Network.Slow(side, others(n, side), delay, n.rng.Int63())
	return fmt.Sprintf("%v by %s each way, half of it more or less", side, delay), n.cluster.Network.Heal, err
}

func power(n *Nemesis) (string, func() error, error) { return losePower(n, n.victims(false)) }

func powerAll(n *Nemesis) (string, func() error, error) {
	var all []int
	for number := 1; number <= n.cluster.Nodes; number++ {
		all = append(all, number)
	}
	return losePower(n, all)
}

// losePower of all victims in one moment.
func losePower(n *Nemesis, victims []int) (string, func() error, error) {
	if err := n.cluster.LosePower(victims); err != nil {
		return fmt.Sprint(victims), nil, err
	}
	return each(n, victims, func(*cluster.Node) error { return nil }, (*cluster.Node).Start)
}

// cut drops what flows from any of one side to any of the other.
func cut(n *Nemesis, from, to []int) error {
	for _, a := range from {
		for _, b := range to {
			if a == b {
				continue
			}
			if err := n.cluster.Network.Block(a, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func others(n *Nemesis, side []int) []int {
	in := map[int]bool{}
	for _, node := range side {
		in[node] = true
	}
	var out []int
	for node := 1; node <= n.cluster.Nodes; node++ {
		if !in[node] {
			out = append(out, node)
		}
	}
	return out
}

// partition cuts a minority, often the leader, off from the rest in both directions.
func partition(n *Nemesis) (string, func() error, error) {
	side := n.victims(false)
	rest := others(n, side)
	err := cut(n, side, rest)
	if err == nil {
		err = cut(n, rest, side)
	}
	return fmt.Sprintf("%v | %v", side, rest), n.cluster.Network.Heal, err
}

// oneway lets a minority hear nothing, or say nothing.
func oneway(n *Nemesis) (string, func() error, error) {
	side := n.victims(false)
	rest := others(n, side)
	if n.rng.Intn(2) == 0 {
		side, rest = rest, side
	}
	return fmt.Sprintf("%v -> %v dropped", side, rest), n.cluster.Network.Heal, cut(n, side, rest)
}

// ring lets every node see only its neighbours: each sees a majority, no two the same one.
func ring(n *Nemesis) (string, func() error, error) {
	order := n.rng.Perm(n.cluster.Nodes)
	count := len(order)
	for i := range order {
		for distance := 2; distance < count-1; distance++ {
			if err := cut(n, []int{order[i] + 1}, []int{order[(i+distance)%count] + 1}); err != nil {
				return "", n.cluster.Network.Heal, err
			}
		}
	}
	if count == 3 { /* three are a ring already: cut one link */
		err := cut(n, []int{order[0] + 1}, []int{order[1] + 1})
		if err == nil {
			err = cut(n, []int{order[1] + 1}, []int{order[0] + 1})
		}
		return fmt.Sprintf("no link %d - %d", order[0]+1, order[1]+1), n.cluster.Network.Heal, err
	}
	return fmt.Sprint("ring of ", order, " + 1"), n.cluster.Network.Heal, nil
}

// replace loses a node with its disk for good and puts a new one in its place; it is healed when the new one has
// everything. Only in a whole cluster: two of three lost are more than anything promises.
func replace(n *Nemesis) (string, func() error, error) {
	if err := n.cluster.WaitWhole(replaceWait); err != nil {
		return "", nil, err
	}
	victim := 1 + n.rng.Intn(n.cluster.Nodes)
	heal := func() error { return n.cluster.WaitWhole(replaceWait) }
	return fmt.Sprintf("node %d", victim), heal, n.cluster.Replace(victim)
}

const replaceWait = time.Minute
