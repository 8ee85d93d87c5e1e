package nemesis

import (
	"errors"
	"fmt"

	"bindery/jepsen/cluster"
)

// full leaves the disks of a minority without room.
func full(n *Nemesis) (string, func() error, error) {
	return each(n, n.victims(false), (*cluster.Node).FillDisk, (*cluster.Node).FreeDisk)
}

// flip kills a node, flips a bit in one of its files of bodies or state, or cuts it off, and starts it again. It is always the same few
// nodes of a run, a minority: damage that nobody has read yet stays, and what a majority has lost is lost. In half of the runs it is
// one node alone, and every body on it that loses a bit, if it has any: readers meet the damage, whatever they read there.
func flip(n *Nemesis) (string, func() error, error) {
	if n.damaged == nil {
		n.damaged = n.rng.Perm(n.cluster.Nodes)[:(n.cluster.Nodes-1)/2]
		if n.rots = n.rng.Intn(2) == 0; n.rots {
			n.damaged = n.damaged[:1]
		}
	}
	victim := n.cluster.Node(1 + n.damaged[n.rng.Intn(len(n.damaged))])
	if err := victim.Kill(); err != nil {
		return "", nil, err
	}
	what, err := "", cluster.ErrNoFile
	if n.rots {
		what, err = victim.Rot(n.rng)
	}
	if errors.Is(err, cluster.ErrNoFile) {
		what, err = victim.Damage(n.rng)
	}
	if errors.Is(err, cluster.ErrNoFile) {
		what, err = "nothing to damage yet", nil
		n.count-- // it is no fault
	}
	if err == nil {
		err = victim.Start()
	}
	return fmt.Sprintf("node %d: %s", victim.Number, what), func() error { return nil }, err
}
