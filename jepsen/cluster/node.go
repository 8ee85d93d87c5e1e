package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// Node is one process of the cluster, and the data it leaves.
type Node struct {
	process
	Number  int
	cluster *Cluster
	data    string
	disk    *disk
	old     bool // runs Options.OldBinary
	leaving int  // id under which it was told to leave, or drained
}

// start runs the node's process; it is started again whenever it stops itself with StopStatus.
func (node *Node) start(join []string) error {
	node.mutex.Lock()
	defer node.mutex.Unlock()
	return node.startLocked(join)
}

func (node *Node) binary() string {
	if node.old {
		return node.cluster.OldBinary
	}
	return node.cluster.Binary
}

func (node *Node) startLocked(join []string) error {
	c := node.cluster
	environment, err := node.clockEnvironment()
	if err != nil {
		return err
	}
	return node.run(program{space: c.Network.Space(node.Number), words: c.system.words(node, join), environment: environment,
		out: c.path(node.Number, "out"), log: c.path(node.Number, "log")}, node.endedItself)
}

// endedItself judges an end that nobody asked for.
func (node *Node) endedItself(status int, err error) {
	c := node.cluster
	if status != StopStatus || c.System != "" {
		c.noteAbort(fmt.Sprintf("%s ended by itself: %v (%s)", node.name, err, c.path(node.Number, "log")))
		return
	}
	c.noteStop()
	if err := node.startLocked(nil); err != nil {
		c.noteAbort(err.Error())
	}
}

// Start runs the process again after Kill, Stop or Cluster.LosePower; if it runs already it does nothing.
func (node *Node) Start() error {
	node.mutex.Lock()
	defer node.mutex.Unlock()
	if node.running() {
		return nil
	}
	return node.startLocked(nil)
}

// LosePower cuts the disks of some nodes, all in one moment, then ends their processes: what was not synced is gone. One after the
// other would be another fault: a node that goes on alone for a moment has its last writes on disk. Needs Options.Disks.
func (c *Cluster) LosePower(numbers []int) error {
	var disks []*disk
	for _, number := range numbers {
		disks = append(disks, c.Node(number).disk)
		c.Node(number).expectEnd() // it may notice the dead disk and stop before we kill it
	}
	if err := cut(disks); err != nil {
		return err
	}
	for _, number := range numbers { // all of them before any end is awaited; one that has just stopped itself needs none
		_ = c.Node(number).Signal(syscall.SIGKILL)
	}
	for _, number := range numbers {
		if err := c.Node(number).Kill(); err != nil {
			return err
		}
	}
	for _, disk := range disks {
		if err := disk.detach(); err != nil {
			return err
		}
		if err := disk.attach(); err != nil {
			return err
		}
	}
	return nil
}

// wipe leaves the stopped node an empty disk.
func (node *Node) wipe() error {
	if node.disk == nil {
		return os.RemoveAll(node.data)
	}
	if err := node.disk.detach(); err != nil {
		return err
	}
	return node.disk.make()
}

// account is the cluster's id, as the node's identity has it.
func (node *Node) account() (string, error) {
	text, err := os.ReadFile(filepath.Join(node.data, "node.toml"))
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`(?m)^cluster = "([0-9a-f]+)"`).FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("no cluster id in node.toml of node %d", node.Number)
	}
	return string(found[1]), nil
}
