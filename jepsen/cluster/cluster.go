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
	OldBinary string // what nodes begin with, if not empty (Upgrade)
	Directory string // made; data, logs
	Nodes     int
	Name      string // of the namespaces
	Disks     string // file system of each node's own disk: "ext4", "xfs", either with "-cache", or "" for none
	Clocks    bool   // nodes whose wall clock can be set (SetClock)
	System    string // "": Bindery; "etcd", "dqlite": peers (dqlite's Binary is its application)
	Flags     []string

	Interrupted <-chan struct{} // closed: nothing is waited for any more
}

// system is what the nodes run: how one is started, how they become a cluster, and how that is.
type system interface {
	words(node *Node, join []string) []string
	form() error
	leader() int            // the number of the node that leads; 0: nobody knows
	settled(count int) bool // that many nodes are there, and all are ready
}

// Cluster of nodes 1..Nodes.
type Cluster struct {
	Options
	Network *Network
	Keys    s3.Credentials
	Roots   *x509.CertPool

	system   system
	nodes    []*Node
	spare    *Node // nil: there is none
	workerds []*Workerd
	token    string
	account  string
	rest     *http.Client

	mutex  sync.Mutex
	aborts []string
	stops  int
}

// New makes a cluster in directory and waits until it is whole. The network must be up.
func New(options Options) (*Cluster, error) {
	c := &Cluster{Options: options, Network: &Network{Name: options.Name, Nodes: options.Nodes}}
	c.system = bindery{c}
	switch options.System {
	case "etcd":
		c.system = etcd{c}
	case "dqlite":
		c.system = dqlite{c}
	}
	for number := 1; number <= options.Nodes; number++ {
		node, err := c.makeNode(number)
		if err != nil {
			return c, err
		}
		node.old = options.OldBinary != ""
		c.nodes = append(c.nodes, node)
	}
	return c, c.system.form()
}

func (c *Cluster) makeNode(number int) (*Node, error) {
	node := &Node{process: process{name: fmt.Sprintf("node %d", number)}, cluster: c, Number: number,
		data: filepath.Join(c.Directory, fmt.Sprintf("n%d", number))}
	if c.Disks != "" {
		d, err := makeDisk(c.Directory, number, 2<<30, c.Disks)
		if err != nil {
			return nil, err
		}
		node.disk = d
		node.data = filepath.Join(d.mount, "data")
	}
	return node, nil
}

// bindery is this project's.
type bindery struct{ *Cluster }

func (c bindery) words(node *Node, join []string) []string {
	words := append([]string{node.binary(), "start", "--data", node.data, "--listen", Address(node.Number), "--memory", "256MiB"},
		c.Flags...)
	return append(words, join...)
}

// form starts node 1 as a new cluster and joins the others to it.
func (c bindery) form() error {
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
	if err := os.WriteFile(c.authorityFile(), authority, 0o644); err != nil {
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

// authorityFile is the CA's certificate, for those who read it from a file.
func (c *Cluster) authorityFile() string { return filepath.Join(c.Directory, "ca.pem") }

func (c *Cluster) path(node int, suffix string) string {
	return filepath.Join(c.Directory, fmt.Sprintf("n%d.%s", node, suffix))
}

// Endpoint of a node's S3 port.
func (c *Cluster) Endpoint(node int) string {
	return fmt.Sprintf("https://%s:%d", Address(node), s3Port)
}

// Bindings is a node's port for workerd's bindings.
func (c *Cluster) Bindings(node int) string {
	if c.System == "dqlite" {
		return fmt.Sprintf("http://%s:%d", Address(node), dqliteClients)
	}
	return fmt.Sprintf("https://%s:%d", Address(node), bindingsPort)
}

// REST is a node's port for Cloudflare's API.
func (c *Cluster) REST(node int) string { return fmt.Sprintf("https://%s:%d", Address(node), restPort) }

// Account is the cluster's id in paths of Cloudflare's API.
func (c *Cluster) Account() string { return c.account }

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
	if c.System == "dqlite" { // the first who uses it makes it
		return name, nil
	}
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
	return c.callAt(Address(node), method, path, fields, result)
}

func (c *Cluster) callAt(address, method, path string, fields map[string]string, result interface{}) bool {
	body, err := json.Marshal(fields)
	if fields == nil {
		body = []byte("{}")
	}
	if err != nil {
		return false
	}
	request, err := http.NewRequest(method, fmt.Sprintf("https://%s:%d%s", address, restPort, path), bytes.NewReader(body))
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

// WaitWhole waits until every node is ready and every group has its leader and its voters.
func (c *Cluster) WaitWhole(limit time.Duration) error {
	return c.Wait("the cluster to be whole", limit, c.whole)
}

// Wait polls a condition; it gives up early when a node has aborted, or the run is interrupted.
func (c *Cluster) Wait(what string, limit time.Duration, condition func() bool) error {
	for end := time.Now().Add(limit); ; {
		if condition() {
			return nil
		}
		if aborts := c.Aborts(); len(aborts) > 0 {
			return fmt.Errorf("while waiting for %s: %s", what, aborts[0])
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
		select {
		case <-c.Interrupted:
			return fmt.Errorf("interrupted while waiting for %s", what)
		case <-time.After(100 * time.Millisecond):
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

func (c *Cluster) noteStop() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stops++
}

func (c *Cluster) noteAbort(text string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.aborts = append(c.aborts, text)
}

// Close kills every node and gives back the disks. Data and logs stay.
func (c *Cluster) Close() {
	for _, workerd := range c.workerds {
		_ = workerd.Kill()
		_ = workerd.gateway.Kill()
	}
	for _, node := range append([]*Node{c.spare}, c.nodes...) {
		if node == nil {
			continue
		}
		_ = node.Kill()
		if node.disk != nil {
			_ = node.disk.detach()
		}
	}
	_ = c.Network.Heal() // ends what holds packets back
}
