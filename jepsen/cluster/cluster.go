// Package cluster runs real nodes, each in a network namespace and on a file system of its own, and does to them
// what the world does: kills, pauses, cuts of the network, losses of power.
package cluster

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bindery/jepsen/s3"
)

const (
	restPort, bindingsPort, s3Port, peerPort = 7700, 7701, 7702, 7703
	// StopStatus is how a node ends that stopped itself on purpose: it is started again.
	StopStatus = 75
)

// Options of a cluster.
type Options struct {
	Binary    string
	Directory string // made; data, logs
	Nodes     int
	Name      string // of the namespaces
	Disks     string // file system of each node's own disk: "ext4", "xfs", or "" for none
	Clocks    bool   // nodes whose wall clock can be set (SetClock)
	Flags     []string
}

// Cluster of nodes 1..Nodes.
type Cluster struct {
	Options
	Network *Network
	Keys    s3.Credentials
	Roots   *x509.CertPool

	nodes   []*Node
	token   string
	account string
	rest    *http.Client

	mutex  sync.Mutex
	aborts []string
	stops  int
}

// New makes a cluster in directory and waits until it is whole. The network must be up.
func New(options Options) (*Cluster, error) {
	c := &Cluster{Options: options, Network: &Network{Name: options.Name, Nodes: options.Nodes}}
	for number := 1; number <= options.Nodes; number++ {
		node := &Node{cluster: c, Number: number, data: filepath.Join(options.Directory, fmt.Sprintf("n%d", number))}
		if options.Disks != "" {
			d, err := makeDisk(options.Directory, number, 2<<30, options.Disks)
			if err != nil {
				return c, err
			}
			node.disk = d
			node.data = filepath.Join(d.mount, "data")
		}
		c.nodes = append(c.nodes, node)
	}
	return c, c.form()
}

// form starts node 1 as a new cluster and joins the others to it.
func (c *Cluster) form() error {
	if err := c.nodes[0].start(nil); err != nil {
		return err
	}
	secrets, err := c.secrets()
	if err != nil {
		return err
	}
	c.token = secrets["admin token"]
	c.Keys = s3.Credentials{Access: secrets["S3 access key"], Secret: secrets["S3 secret key"]}
	if c.account, err = c.nodes[0].account(); err != nil {
		return err
	}
	authority, err := os.ReadFile(filepath.Join(c.nodes[0].data, "certs", "ca.pem"))
	if err != nil {
		return err
	}
	c.Roots = x509.NewCertPool()
	c.Roots.AppendCertsFromPEM(authority)
	c.rest = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.Roots}, DisableKeepAlives: true}}
	if err := c.Wait("node 1", time.Minute, func() bool { return c.ready(1) }); err != nil {
		return err
	}
	token := secrets["join token"]
	for _, node := range c.nodes[1:] {
		if token == "" {
			if token, err = c.joinToken(node.Number); err != nil {
				return err
			}
		}
		if err := node.start([]string{"--join", fmt.Sprintf("%s:%d", Address(1), peerPort), "--token", token}); err != nil {
			return err
		}
		token = ""
	}
	return c.WaitWhole(2 * time.Minute)
}

// secrets are what node 1 printed when it made the cluster: "  admin token <token>".
func (c *Cluster) secrets() (map[string]string, error) {
	found := map[string]string{}
	err := c.Wait("node 1 to make the cluster", time.Minute, func() bool {
		file, err := os.Open(c.path(1, "out"))
		if err != nil {
			return false
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			words := strings.Fields(lines.Text())
			if strings.HasPrefix(lines.Text(), "  ") && len(words) > 1 {
				found[strings.Join(words[:len(words)-1], " ")] = words[len(words)-1]
			}
		}
		return found["join token"] != ""
	})
	return found, err
}

func (c *Cluster) path(node int, suffix string) string {
	return filepath.Join(c.Directory, fmt.Sprintf("n%d.%s", node, suffix))
}

// Endpoint of a node's S3 port.
func (c *Cluster) Endpoint(node int) string {
	return fmt.Sprintf("https://%s:%d", Address(node), s3Port)
}

// Bindings is a node's port for workerd's bindings.
func (c *Cluster) Bindings(node int) string {
	return fmt.Sprintf("https://%s:%d", Address(node), bindingsPort)
}

// Token of the cluster's administrator.
func (c *Cluster) Token() string { return c.token }

// MakeNamespace makes a KV namespace and returns its id.
func (c *Cluster) MakeNamespace(title string) (string, error) {
	var result struct{ ID string }
	err := c.Wait("a KV namespace", 30*time.Second, func() bool {
		return c.call(1, "POST", "/client/v4/accounts/"+c.account+"/storage/kv/namespaces",
			map[string]string{"title": title}, &result)
	})
	return result.ID, err
}

// MakeDatabase makes a D1 database and returns its uuid.
func (c *Cluster) MakeDatabase(name string) (string, error) {
	var result struct{ UUID string }
	err := c.Wait("a D1 database", 30*time.Second, func() bool {
		return c.call(1, "POST", "/client/v4/accounts/"+c.account+"/d1/database", map[string]string{"name": name}, &result)
	})
	return result.UUID, err
}

// Node by its number.
func (c *Cluster) Node(number int) *Node { return c.nodes[number-1] }

// call asks a node's REST port, with fields as a JSON body; false: no answer, or not 200.
func (c *Cluster) call(node int, method, path string, fields map[string]string, result interface{}) bool {
	body, err := json.Marshal(fields)
	if fields == nil {
		body = []byte("{}")
	}
	if err != nil {
		return false
	}
	request, err := http.NewRequest(method, fmt.Sprintf("https://%s:%d%s", Address(node), restPort, path), bytes.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.rest.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return false
	}
	return result == nil || json.NewDecoder(answer.Body).Decode(&struct{ Result interface{} }{result}) == nil
}

func (c *Cluster) ready(node int) bool { return c.call(node, "GET", "/readyz", nil, nil) }

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
	var seen status
	if !c.call(other, "GET", "/bindery/v1/status", nil, &seen) {
		return fmt.Errorf("node %d does not answer", other)
	}
	lost := 0
	for _, each := range seen.Nodes {
		if c.number(&seen, each.ID) == number {
			lost = each.ID
		}
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

// number of the node that has this id now (one that was replaced has another than it began with); 0: none.
func (c *Cluster) number(seen *status, id int) int {
	for _, each := range seen.Nodes {
		for number := 1; number <= c.Nodes && each.ID == id && each.State == "active"; number++ {
			if each.Address == fmt.Sprintf("%s:%d", Address(number), peerPort) {
				return number
			}
		}
	}
	return 0
}

// Leader is the node that leads most groups, as the first node that answers sees it; 0: nobody answers.
func (c *Cluster) Leader() int {
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
func (c *Cluster) whole() bool {
	for node := 1; node <= c.Nodes; node++ {
		var seen status
		if !c.ready(node) || !c.call(node, "GET", "/bindery/v1/status", nil, &seen) || !seen.Settled {
			return false
		}
		count := 0
		for _, each := range seen.Nodes {
			if each.Role == "storage" && each.State == "active" {
				count++
			}
		}
		if count != c.Nodes {
			return false
		}
	}
	return true
}

// WaitWhole waits until every node is ready and every group has its leader and its voters.
func (c *Cluster) WaitWhole(limit time.Duration) error {
	return c.Wait("the cluster to be whole", limit, c.whole)
}

// Wait polls a condition; it gives up early when a node has aborted.
func (c *Cluster) Wait(what string, limit time.Duration, condition func() bool) error {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		if condition() {
			return nil
		}
		if aborts := c.Aborts(); len(aborts) > 0 {
			return fmt.Errorf("while waiting for %s: %s", what, aborts[0])
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
	}
}

// Aborts are the ends of node processes that nobody wanted.
func (c *Cluster) Aborts() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]string(nil), c.aborts...)
}

// Stops counts deliberate stops (status 75), each started again.
func (c *Cluster) Stops() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.stops
}

func (c *Cluster) noteAbort(text string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.aborts = append(c.aborts, text)
}

// Close kills every node and gives back the disks. Data and logs stay.
func (c *Cluster) Close() {
	for _, node := range c.nodes {
		_ = node.Kill()
		if node.disk != nil {
			_ = node.disk.detach()
		}
	}
}
