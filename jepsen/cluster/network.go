package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
)

// Network is a bridge with a network namespace for each node and one for the clients, all made and removed by
// name. Nothing of it touches the network that the machine is on.
type Network struct {
	Name  string // prefix of the namespaces: at most 8 letters
	Nodes int

	slow []*slowQueueOf
}

// Spare is the number of a node that the network has room for beside the Nodes.
func (network *Network) Spare() int { return network.Nodes + 1 }

// Workerds is how many hosts there are beside the nodes, for workerds.
const Workerds = 2

// Address of node 1, 2, ...
func Address(node int) string { return fmt.Sprintf("10.77.0.%d", node) }

// WorkerdAddress is that of workerd 1, 2.
func WorkerdAddress(number int) string { return fmt.Sprintf("10.77.0.%d", 200+number) }

const clientAddress = "10.77.0.100"

// Space is the name of a node's namespace.
func (network *Network) Space(node int) string { return fmt.Sprintf("%s-n%d", network.Name, node) }

// WorkerdSpace is the name of a workerd's namespace.
func (network *Network) WorkerdSpace(number int) string {
	return fmt.Sprintf("%s-w%d", network.Name, number)
}

// ClientSpace is where the harness itself runs.
func (network *Network) ClientSpace() string { return network.Name + "-c" }

func (network *Network) bridgeSpace() string { return network.Name + "-br" }

func command(words ...string) error {
	var out bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}

func commands(lines ...string) error {
	for _, line := range lines {
		if err := command(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// Up makes the namespaces, after removing what an interrupted run left under the same name.
func (network *Network) Up() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("network namespaces need root")
	}
	network.Down()
	bridge := network.bridgeSpace()
	err := commands("ip netns add "+bridge, "ip -n "+bridge+" link add br0 type bridge",
		"ip -n "+bridge+" link set br0 up")
	for node := 1; node <= network.Spare() && err == nil; node++ {
		err = network.attach(network.Space(node), fmt.Sprintf("n%d", node), Address(node))
	}
	for number := 1; number <= Workerds && err == nil; number++ {
		err = network.attach(network.WorkerdSpace(number), fmt.Sprintf("w%d", number), WorkerdAddress(number))
	}
	if err == nil {
		err = network.attach(network.ClientSpace(), "c", clientAddress)
	}
	return err
}

func (network *Network) attach(space, port, address string) error {
	bridge := network.bridgeSpace()
	return commands("ip netns add "+space,
		"ip -n "+bridge+" link add "+port+" type veth peer name eth0 netns "+space,
		"ip -n "+space+" addr add "+address+"/24 dev eth0",
		"ip -n "+space+" link set eth0 up", "ip -n "+space+" link set lo up",
		"ip -n "+bridge+" link set "+port+" master br0", "ip -n "+bridge+" link set "+port+" up")
}

// suffixes of our namespaces' names, of a network of whatever size.
var suffixes = regexp.MustCompile(`^-(br|c|[nw][0-9]+)$`)

// has says whether a namespace is one of this network's: not one of another whose name begins likewise.
func (network *Network) has(space string) bool {
	return strings.HasPrefix(space, network.Name) && suffixes.MatchString(space[len(network.Name):])
}

// Down kills what still runs in the namespaces and removes them.
func (network *Network) Down() {
	names, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(names), "\n") {
		space := strings.Fields(line + " ")
		if len(space) == 0 || !network.has(space[0]) {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", space[0]).Output()
		for _, pid := range strings.Fields(string(pids)) {
			if pid != fmt.Sprint(os.Getpid()) {
				_ = command("kill", "-9", pid)
			}
		}
		_ = command("ip", "netns", "del", space[0])
	}
}

// Inside runs this program again in the clients' namespace and returns its exit status. When ctx ends, the one inside is told by
// SIGTERM, so that it ends in order.
func (network *Network) Inside(ctx context.Context, arguments []string, mark string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", network.ClientSpace(), self}, arguments...)...)
	cmd.Env = append(os.Environ(), mark)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err = cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-ended:
		}
	}()
	err = cmd.Wait()
	close(ended)
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// rule adds one to what arrives at node `to` from node `from`.
func (network *Network) rule(to, from int, target ...string) error {
	return command(append([]string{"ip", "netns", "exec", network.Space(to), "iptables", "-w", "-A", "INPUT", "-s", Address(from), "-j"},
		target...)...)
}

// Block drops everything that node `from` sends to node `to`.
func (network *Network) Block(from, to int) error { return network.rule(to, from, "DROP") }

// Heal ends every Block and Slow.
func (network *Network) Heal() error {
	for node := 1; node <= network.Spare(); node++ {
		if err := command("ip", "netns", "exec", network.Space(node), "iptables", "-w", "-F", "INPUT"); err != nil {
			return err
		}
	}
	for _, slow := range network.slow {
		slow.close()
	}
	network.slow = nil
	return nil
}
