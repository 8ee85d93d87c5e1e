package cluster

import (
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bindery/jepsen/s3"
)

//go:embed worker.js
var workerModule []byte

// WorkerdBucket is the bucket of the workerds' cluster mode.
const WorkerdBucket = "durable-objects"

const workerdPort, workerdPeers = 8080, 9090

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "app", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-04-01",
      durableObjectNamespaces = [(className = "Box", uniqueKey = "jepsen-Box", enableSql = true)],
      durableObjectStorage = (localDisk = "do-storage"),
      bindings = [(name = "BOX", durableObjectNamespace = "Box")])),
    (name = "do-storage", disk = (path = "{home}/disk", writable = true)),
  ],
  sockets = [(name = "http", address = "{address}:{http}", http = (), service = "app")],
  cluster = (bucket = "s3://{bucket}/c1",
    bucketOptions = ["aws_endpoint=https://{address}:{s3}", "aws_region=auto", "aws_access_key_id={access}",
      "aws_secret_access_key={secret}"],
    address = "{address}:{peers}", key = "{key}"),
);
`

// Workerd is a released workerd in cluster mode, in a namespace of its own, with a gateway beside it.
type Workerd struct {
	process
	Number  int
	cluster *Cluster
	home    string
	gateway process
}

// WorkerdURL is where a workerd answers.
func (c *Cluster) WorkerdURL(number int) string {
	return fmt.Sprintf("http://%s:%d", WorkerdAddress(number), workerdPort)
}

// Workerd by its number.
func (c *Cluster) Workerd(number int) *Workerd { return c.workerds[number-1] }

// HasWorkerds says whether StartWorkerds was called.
func (c *Cluster) HasWorkerds() bool { return len(c.workerds) > 0 }

// StartWorkerds makes the bucket and starts both workerds of this program over it, each beside a gateway.
func (c *Cluster) StartWorkerds(program string) error {
	client := s3.New(c.Endpoint(1), c.Roots, c.Keys, 10*time.Second)
	defer client.Close()
	header := map[string]string{"X-Bindery-Path-Segments": "5"} // an object's keys share a group
	if _, _, err := client.Write(s3.Request{Method: "PUT", Path: WorkerdBucket, Header: header}); err != nil {
		return fmt.Errorf("the bucket of the workerds: %w", err)
	}
	for number := 1; number <= Workerds; number++ {
		workerd := &Workerd{process: process{name: fmt.Sprintf("workerd %d", number)}, Number: number, cluster: c,
			home: filepath.Join(c.Directory, fmt.Sprintf("w%d", number)), gateway: process{name: fmt.Sprintf("gateway %d", number)}}
		c.workerds = append(c.workerds, workerd)
		if err := workerd.prepare(program); err != nil {
			return err
		}
		if err := workerd.Start(); err != nil {
			return err
		}
	}
	return c.WaitWorkerds(time.Minute)
}

// WaitWorkerds waits until both answer.
func (c *Cluster) WaitWorkerds(limit time.Duration) error {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	return c.Wait("the workerds to answer", limit, func() bool {
		for number := range c.workerds {
			url := fmt.Sprintf("%s/warm-up-%d/plans", c.WorkerdURL(number+1), number)
			answer, err := client.Post(url, "application/json", strings.NewReader("[]"))
			if err != nil {
				return false
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return false
			}
		}
		return true
	})
}

// prepare writes what the workerd needs and starts its gateway.
func (workerd *Workerd) prepare(program string) error {
	c := workerd.cluster
	address := WorkerdAddress(workerd.Number)
	words := strings.NewReplacer("{home}", workerd.home, "{address}", address, "{http}", fmt.Sprint(workerdPort), "{peers}",
		fmt.Sprint(workerdPeers), "{s3}", fmt.Sprint(s3Port), "{bucket}", WorkerdBucket, "{access}", c.Keys.Access, "{secret}",
		c.Keys.Secret, "{key}", strings.Repeat("jepsen-key-", 5))
	if err := os.MkdirAll(filepath.Join(workerd.home, "disk"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"worker.js": workerModule, "config.capnp": []byte(words.Replace(workerdConfig))} {
		if err := os.WriteFile(filepath.Join(workerd.home, name), text, 0o600); err != nil {
			return err
		}
	}
	if err := os.Symlink(program, filepath.Join(workerd.home, "workerd")); err != nil {
		return err
	}
	token, err := c.joinToken(0)
	if err != nil {
		return err
	}
	if err := workerd.startGateway("--join", fmt.Sprintf("%s:%d", Address(1), peerPort), "--token", token); err != nil {
		return err
	}
	return c.Wait(workerd.gateway.name+" to be ready", time.Minute, func() bool { return c.callAt(address, "GET", "/readyz", nil, nil) })
}

func (workerd *Workerd) startGateway(join ...string) error {
	workerd.gateway.mutex.Lock()
	defer workerd.gateway.mutex.Unlock()
	c, files := workerd.cluster, workerd.home+"/gateway"
	words := append([]string{c.Binary, "gateway", "--data", files, "--listen", WorkerdAddress(workerd.Number), "--memory", "128MiB"}, join...)
	return workerd.gateway.run(program{space: c.Network.WorkerdSpace(workerd.Number), words: words, out: files + ".out", log: files + ".log"},
		func(status int, err error) {
			c.noteAbort(fmt.Sprintf("%s ended by itself: %v (%s.log)", workerd.gateway.name, err, files))
		})
}

// Start starts the workerd; it is started again when it ends by itself, as workerds do whose lease has lapsed.
func (workerd *Workerd) Start() error {
	workerd.mutex.Lock()
	defer workerd.mutex.Unlock()
	return workerd.startLocked()
}

func (workerd *Workerd) startLocked() error {
	c, log := workerd.cluster, filepath.Join(workerd.home, "log")
	return workerd.run(program{space: c.Network.WorkerdSpace(workerd.Number), out: log, log: log,
		words:       []string{filepath.Join(workerd.home, "workerd"), "serve", "--experimental", filepath.Join(workerd.home, "config.capnp")},
		environment: append(os.Environ(), "SSL_CERT_FILE="+c.authorityFile())},
		func(int, error) {
			time.Sleep(time.Second) // not faster than it can fail
			if err := workerd.startLocked(); err != nil {
				c.noteAbort(err.Error())
			}
		})
}
