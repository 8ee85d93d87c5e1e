package cluster

import (
	"fmt"
	"time"
)

// Who is in the cluster, and how that changes.

// joinToken asks the other nodes for a token with which node number may join.
func (c *Cluster) joinToken(number int) (string, error) {
	var result struct{ Token string }
	err := c.Wait("a join token", 30*time.Second, func() bool {
		for other := 1; other <= c.Nodes; other++ {
			if other != number && c.call(other, "POST", "/bindery/v1/join-tokens", nil, &result) {
				return true
			}
		}
		return false
	})
	return result.Token, err
}

// Replace puts a new, empty node in the place of one that is lost with its disk.
func (c *Cluster) Replace(number int) error {
	node, other := c.Node(number), 1+number%c.Nodes
	lost, err := c.id(number)
	if err != nil {
		return err
	}
	if err := node.Kill(); err != nil {
		return err
	}
	if err := node.wipe(); err != nil {
		return err
	}
	token, err := c.joinToken(number)
	if err != nil {
		return err
	}
	node.old = false // a new node has the new program
	return node.start([]string{"--join", fmt.Sprintf("%s:%d", Address(other), peerPort), "--token", token, "--replaces",
		fmt.Sprint(lost)})
}

type status struct {
	Settled bool
	Nodes   []struct {
		ID      int
		Role    string
		State   string
		Address string
	}
	Groups []struct{ Leader int }
}

// id that the node of this number has now.
func (c *Cluster) id(number int) (int, error) {
	found := 0
	err := c.Wait(fmt.Sprintf("the id of node %d", number), 30*time.Second, func() bool {
		for other := 1; other <= c.Nodes && found == 0; other++ {
			var seen status
			if !c.call(other, "GET", "/bindery/v1/status", nil, &seen) {
				continue
			}
			for _, each := range seen.Nodes {
				if c.number(&seen, each.ID) == number {
					found = each.ID
				}
			}
		}
		return found != 0
	})
	return found, err
}

// number of the node that has this id now (one that was replaced has another than it began with); 0: none.
func (c *Cluster) number(seen *status, id int) int {
	for _, each := range seen.Nodes {
		for number := 1; number <= c.Network.Spare() && each.ID == id && each.State == "active"; number++ {
			if each.Address == fmt.Sprintf("%s:%d", Address(number), peerPort) {
				return number
			}
		}
	}
	return 0
}

// Leader is the node that leads, or leads most; 0: nobody answers.
func (c *Cluster) Leader() int { return c.system.leader() }

// leader is the node that leads most groups, as the first node that answers sees it; 0: nobody answers.
func (c bindery) leader() int {
	for node := 1; node <= c.Nodes; node++ {
		var seen status
		if !c.call(node, "GET", "/bindery/v1/status", nil, &seen) {
			continue
		}
		count, best := map[int]int{}, 0
		for _, group := range seen.Groups {
			count[group.Leader]++
			if group.Leader != 0 && count[group.Leader] > count[best] {
				best = group.Leader
			}
		}
		return c.number(&seen, best)
	}
	return 0
}

// whole: every node is ready, and every group has its leader and its voters.
func (c *Cluster) whole() bool { return c.system.settled(c.Nodes) }

// settled: that many nodes are there, none leaves, and all is where it belongs.
func (c bindery) settled(count int) bool {
	for _, each := range append([]*Node{c.spare}, c.nodes...) {
		if each == nil {
			continue
		}
		node, active := each.Number, 0
		var seen status
		if !c.ready(node) || !c.call(node, "GET", "/bindery/v1/status", nil, &seen) || !seen.Settled {
			return false
		}
		for _, each := range seen.Nodes {
			if each.Role == "storage" && each.State == "active" {
				active++
			}
		}
		if active != count {
			return false
		}
	}
	return true
}

// memberWait is how long a change of members may take under load.
const memberWait = 2 * time.Minute

// JoinSpare adds one more node than the cluster began with.
func (c *Cluster) JoinSpare() error {
	node, err := c.makeNode(c.Network.Spare())
	if err != nil {
		return err
	}
	c.spare = node
	return c.join(node)
}

// join starts an empty node as a new member.
func (c *Cluster) join(node *Node) error {
	token, err := c.joinToken(node.Number)
	if err != nil {
		return err
	}
	node.old = false
	return node.start([]string{"--join", fmt.Sprintf("%s:%d", Address(1+node.Number%c.Nodes), peerPort), "--token", token})
}

// WaitSpare waits until the spare node has its share.
func (c *Cluster) WaitSpare() error {
	return c.Wait("the spare node to have its share", memberWait, func() bool { return c.system.settled(c.Nodes + 1) })
}

// LeaveSpare decommissions the spare node, waits until it is gone, and ends it.
func (c *Cluster) LeaveSpare() error {
	if err := c.Decommission(c.spare); err != nil {
		return err
	}
	if err := c.waitGone(c.spare); err != nil {
		return err
	}
	spare := c.spare
	c.spare = nil
	return spare.release()
}

// Decommission asks for everything to be moved away from a node; it goes on meanwhile.
func (c *Cluster) Decommission(node *Node) error {
	id, err := c.id(node.Number)
	if err != nil {
		return err
	}
	node.leaving = id
	node.expectEnd() // it stops when it holds nothing any more
	return c.order(id, "decommission")
}

// order tells the cluster what becomes of the node with this id.
func (c *Cluster) order(id int, what string) error {
	return c.Wait(fmt.Sprintf("%s of node id %d to be taken", what, id), 30*time.Second, func() bool {
		for other := 1; other <= c.Nodes; other++ {
			if c.call(other, "POST", fmt.Sprintf("/bindery/v1/nodes/%d/%s", id, what), map[string]string{}, nil) {
				return true
			}
		}
		return false
	})
}

// waitGone waits until a node that was decommissioned is gone for everybody.
func (c *Cluster) waitGone(node *Node) error {
	return c.Wait(fmt.Sprintf("%s to be gone", node.name), memberWait, func() bool {
		for other := 1; other <= c.Nodes; other++ {
			var seen status
			if other == node.Number || !c.call(other, "GET", "/bindery/v1/status", nil, &seen) {
				continue
			}
			for _, each := range seen.Nodes {
				if each.ID == node.leaving && each.State != "gone" {
					return false
				}
			}
			return true
		}
		return false
	})
}

// Rejoin waits until a node that was decommissioned is gone and puts a new one with an empty disk in its place.
func (c *Cluster) Rejoin(node *Node) error {
	err := c.waitGone(node)
	if err == nil {
		err = node.Kill()
	}
	if err == nil {
		err = node.wipe()
	}
	if err == nil {
		err = c.join(node)
	}
	return err
}

// Drain has a node lead nothing until Undrain.
func (c *Cluster) Drain(node *Node) error {
	id, err := c.id(node.Number)
	if err != nil {
		return err
	}
	node.leaving = id
	return c.order(id, "drain")
}

// Undrain ends Drain.
func (c *Cluster) Undrain(node *Node) error { return c.order(node.leaving, "undrain") }

// Upgrade stops a node and starts it with the new program; a node that has it already is only restarted.
func (node *Node) Upgrade() error {
	if err := node.Stop(); err != nil {
		return err
	}
	node.old = false
	return node.Start()
}

// Old says whether the node runs Options.OldBinary.
func (node *Node) Old() bool { return node.old }

// release ends a node that is not needed any more, and its disk.
func (node *Node) release() error {
	err := node.Kill()
	if node.disk != nil && err == nil {
		err = node.disk.detach()
	}
	return err
}
