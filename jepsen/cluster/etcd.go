package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"bindery/jepsen/wire"
)

// etcd is Debian's, with its defaults, which sync before they acknowledge; every node is a member from the beginning.
type etcd struct{ *Cluster }

const etcdClients, etcdPeers = 2379, 2380

// EtcdURL is where a node of etcd serves clients.
func EtcdURL(node int) string { return fmt.Sprintf("http://%s:%d", Address(node), etcdClients) }

func (c etcd) words(node *Node, _ []string) []string {
	peer := func(number int) string { return fmt.Sprintf("http://%s:%d", Address(number), etcdPeers) }
	var members []string
	for number := 1; number <= c.Nodes; number++ {
		members = append(members, fmt.Sprintf("n%d=%s", number, peer(number)))
	}
	return []string{"etcd", "--name", fmt.Sprintf("n%d", node.Number), "--data-dir", node.data, "--logger", "zap",
		"--listen-client-urls", EtcdURL(node.Number), "--advertise-client-urls", EtcdURL(node.Number),
		"--listen-peer-urls", peer(node.Number), "--initial-advertise-peer-urls", peer(node.Number),
		"--initial-cluster", strings.Join(members, ","), "--initial-cluster-token", "jepsen"}
}

func (c etcd) form() error {
	for _, node := range c.nodes {
		if err := node.start(nil); err != nil {
			return err
		}
	}
	return c.WaitWhole(time.Minute)
}

// ask posts to a node's JSON gateway; false: no answer, or an error.
func (c etcd) ask(node int, path, body string, result interface{}) bool {
	client := wire.Client(nil, 2*time.Second)
	defer client.CloseIdleConnections()
	answer, err := wire.Post(client, EtcdURL(node)+path, []byte(body))
	return err == nil && answer.Status == http.StatusOK && json.Unmarshal(answer.Body, result) == nil
}

func (c etcd) leader() int {
	for node := 1; node <= c.Nodes; node++ {
		var status struct {
			Header struct {
				Member string `json:"member_id"`
			}
			Leader string
		}
		if c.ask(node, "/v3/maintenance/status", "{}", &status) && status.Leader == status.Header.Member {
			return node
		}
	}
	return 0
}

// settled: every node answers a linearizable read.
func (c etcd) settled(int) bool {
	for node := 1; node <= c.Nodes; node++ {
		var answer struct{}
		if !c.ask(node, "/v3/kv/range", `{"key":"AA=="}`, &answer) {
			return false
		}
	}
	return true
}
