package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Network is a bridge with a network namespace for each node and one for the clients, all made and removed by
// name. Nothing of it touches the network that the machine is on.
type Network struct {
	Name  string // prefix of the namespaces: at most 8 letters
	Nodes int
}

// Address of node 1, 2, ...
func Address(node int) string { return fmt.Sprintf("10.77.0.%d", node) }

const clientAddress = "10.77.0.100"

// Space is the name of a node's namespace.
func (network *Network) Space(node int) string { return fmt.Sprintf("%s-n%d", network.Name, node) }

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
	for node := 1; node <= network.Nodes && err == nil; node++ {
		err = network.attach(network.Space(node), fmt.Sprintf("n%d", node), Address(node))
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

// Down kills what still runs in the namespaces and removes them.
func (network *Network) Down() {
	names, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(names), "\n") {
		space := strings.Fields(line + " ")
		if len(space) == 0 || !strings.HasPrefix(space[0], network.Name+"-") {
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

// Inside runs this program again in the clients' namespace and returns its exit status.
func (network *Network) Inside(arguments []string, mark string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", network.ClientSpace(), self}, arguments...)...)
	cmd.Env = append(os.Environ(), mark)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	err = cmd.Run()
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Block drops everything that node `from` sends to node `to`.
func (network *Network) Block(from, to int) error {
	return command("ip", "netns", "exec", network.Space(to), "iptables", "-w", "-A", "INPUT", "-s", Address(from), "-j",
		"DROP")
}

// Heal ends every Block.
func (network *Network) Heal() error {
	for node := 1; node <= network.Nodes; node++ {
		if err := command("ip", "netns", "exec", network.Space(node), "iptables", "-w", "-F", "INPUT"); err != nil {
			return err
		}
	}
	return nil
}
