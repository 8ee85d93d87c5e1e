package cluster

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// dqlite is Debian's, in an application (bench/dqlite_node) that speaks the protocol of D1 bindings, with go-dqlite's defaults: of
// three nodes all vote.
type dqlite struct{ *Cluster }

const dqliteClients, dqlitePeers = 9002, 9001

func dqliteAddress(node int) string { return fmt.Sprintf("%s:%d", Address(node), dqlitePeers) }

func (c dqlite) words(node *Node, _ []string) []string {
	words := []string{c.Binary, "--dir", node.data, "--address", dqliteAddress(node.Number), "--http",
		fmt.Sprintf("%s:%d", Address(node.Number), dqliteClients)}
	if node.Number > 1 {
		words = append(words, "--join", dqliteAddress(1))
	}
	return words
}

func (c dqlite) form() error {
	for _, node := range c.nodes {
		if err := node.start(nil); err != nil {
			return err
		}
		number := node.Number
		if err := c.Wait(node.name, time.Minute, func() bool { return c.members(number) != "" }); err != nil {
			return err
		}
	}
	return c.WaitWhole(time.Minute)
}

// members is how many vote and who leads, as a node sees it.
func (c dqlite) members(node int) string {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://%s:%d/members", Address(node), dqliteClients))
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (c dqlite) leader() int {
	for node := 1; node <= c.Nodes; node++ {
		if _, leader, found := strings.Cut(c.members(node), " "); found {
			for number := 1; number <= c.Nodes; number++ {
				if leader == dqliteAddress(number) {
					return number
				}
			}
		}
	}
	return 0
}

// settled: every node knows a leader, and all vote.
func (c dqlite) settled(count int) bool {
	for node := 1; node <= c.Nodes; node++ {
		if voters, _, found := strings.Cut(c.members(node), " "); !found || voters != fmt.Sprint(count) {
			return false
		}
	}
	return true
}
