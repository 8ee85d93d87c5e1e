package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Node is one process of the cluster, and the data it leaves.
type Node struct {
	Number  int
	cluster *Cluster
	data    string
	disk    *disk

	mutex    sync.Mutex
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process is gone
	expected bool          // its end is our doing
}

// start runs the node's process; it is started again whenever it stops itself with StopStatus.
func (node *Node) start(join []string) error {
	node.mutex.Lock()
	defer node.mutex.Unlock()
	return node.startLocked(join)
}

func (node *Node) startLocked(join []string) error {
	c := node.cluster
	words := append([]string{"netns", "exec", c.Network.Space(node.Number), c.Binary, "start", "--data", node.data,
		"--listen", Address(node.Number), "--memory", "256MiB"}, c.Flags...)
	cmd := exec.Command("ip", append(words, join...)...)
	log, err := os.OpenFile(c.path(node.Number, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	out, err := os.OpenFile(c.path(node.Number, "out"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, log
	if cmd.Env, err = node.clockEnvironment(); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	node.cmd, node.ended, node.expected = cmd, make(chan struct{}), false
	go node.watch(cmd, node.ended)
	return nil
}

func (node *Node) watch(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	node.mutex.Lock()
	defer node.mutex.Unlock()
	close(ended)
	if node.expected {
		return
	}
	c := node.cluster
	if cmd.ProcessState.ExitCode() != StopStatus {
		c.noteAbort(fmt.Sprintf("node %d ended by itself: %v (%s)", node.Number, err, c.path(node.Number, "log")))
		return
	}
	c.mutex.Lock()
	c.stops++
	c.mutex.Unlock()
	if err := node.startLocked(nil); err != nil {
		c.noteAbort(err.Error())
	}
}

// Signal sends the node's process a signal.
func (node *Node) Signal(what syscall.Signal) error {
	node.mutex.Lock()
	defer node.mutex.Unlock()
	if node.cmd == nil {
		return fmt.Errorf("node %d was never started", node.Number)
	}
	return node.cmd.Process.Signal(what)
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (node *Node) Kill() error { return node.end(syscall.SIGKILL) }

// Stop ends the process with SIGTERM and waits until it is gone.
func (node *Node) Stop() error { return node.end(syscall.SIGTERM) }

func (node *Node) end(what syscall.Signal) error {
	node.mutex.Lock()
	if node.cmd == nil {
		node.mutex.Unlock()
		return nil
	}
	node.expected = true
	cmd, ended := node.cmd, node.ended
	_ = cmd.Process.Signal(what)
	node.mutex.Unlock()
	select {
	case <-ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("node %d did not end in 30 s after signal %v", node.Number, what)
	}
}

// Start runs the process again after Kill, Stop or LosePower.
func (node *Node) Start() error { return node.start(nil) }

// LosePower cuts the node's disk, then ends its process: what was not synced is gone. Needs Options.Disks.
func (node *Node) LosePower() error {
	node.mutex.Lock()
	node.expected = true // it may notice the dead disk and stop before we kill it
	node.mutex.Unlock()
	if err := node.disk.cut(); err != nil {
		return err
	}
	if err := node.Kill(); err != nil {
		return err
	}
	if err := node.disk.detach(); err != nil {
		return err
	}
	return node.disk.attach()
}

// wipe leaves the stopped node an empty disk.
func (node *Node) wipe() error {
	if node.disk == nil {
		return os.RemoveAll(node.data)
	}
	if err := node.disk.detach(); err != nil {
		return err
	}
	if err := node.disk.format(); err != nil {
		return err
	}
	return node.disk.attach()
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
