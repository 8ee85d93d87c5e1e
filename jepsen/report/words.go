package report

import "strings"

// About is what somebody who has never seen the project needs to be told of a workload.
type About struct {
	Does  string // what the clients do
	Judge string // what must be true of every answer
}

const linearizable = "linearizable: there is one order of all operations on a key in which each takes effect between its call and its answer, and every read returns what the last write before it left. "

const strict = "strict serializability: the transactions stand in one order, which agrees with real time (what was acknowledged comes before whatever began later) and with everything that was read. "

var workloads = map[string]About{
	"register": {"Clients read, write, delete and conditionally write (compare-and-set by If-Match and If-None-Match) a few objects over S3. Each object holds one number; its body is inline or up to 260 KB in the body store.",
		"The objects are " + linearizable + "Every body that is read is, byte for byte, one that was written."},
	"multipart": {"As register, but some writes come as multipart uploads of 5 MB and more, of which some are aborted or left lying.",
		"The objects are " + linearizable + "A completed upload shows all of its parts, an aborted one nothing."},
	"list": {"Clients add objects, remove some of them again, and list the whole bucket page by page, over S3.",
		"A list holds every object whose addition was acknowledged before it began, nothing whose removal was, and nothing that nobody added."},
	"kv": {"Clients put, delete, read and list a few dozen keys of a Workers KV namespace, each through its own node.",
		"A client reads its own writes; in the end all nodes show the same, and no acknowledged write has lost to one that was acknowledged before it began. (KV is eventually consistent: a stale read in between is allowed, and measured.)"},
	"control": {"Clients create, look for and delete buckets, D1 databases and KV namespaces under a few names, all at once, and put numbers into them.",
		"What a name stands for, and what lies in it, is " + linearizable + "A refused deletion never happens later; nothing of what was deleted shows in what follows it under the same name."},
	"d1-register": {"Clients read and conditionally update (UPDATE ... WHERE) rows of D1 databases.",
		"The rows are " + linearizable},
	"d1-append": {"Clients run batches in D1 databases, each one transaction, that append to lists and read them.",
		"This is " + strict + "A batch is there whole or not at all."},
	"d1-bank": {"Clients move money between the accounts of D1 databases, one transaction each; what would overdraw an account is refused.",
		"The total is the same in every read, every acknowledged transfer is there exactly once, and the balances follow from the transfers."},
	"d1-sessions": {"Clients read and write D1 through sessions, each going on at another node with the bookmark that it has; replicas answer the reads.",
		"A session reads its own writes and never goes back in time; what a bookmark names is never older than it, and the same everywhere."},
	"do-append": {"Clients append to lists kept by Durable Objects, which run in two workerd processes and store in the cluster.",
		"This is " + strict + "The object's key-value pairs and its rows are of one commit."},
	"do-counter": {"Clients increment counters kept by Durable Objects, which run in two workerd processes and store in the cluster.",
		"This is " + strict + "No increment is lost or done twice."},
	"do-alarm": {"Clients have Durable Objects plan work, which their alarms then do.",
		"Every acknowledged plan is done exactly once, and not before it is due, whichever workerd is gone."},
	"append": {"Clients run transactions that append to lists and read them.", "This is " + strict},
	"bank": {"Clients move money between accounts, one transaction each.",
		"The total is the same in every read, and every acknowledged transfer is there exactly once."},
}

var faults = map[string]string{
	"clock":        "the wall clocks of some nodes jump, by 0.3 s to 3 h",
	"clock-rate":   "the wall clocks of some nodes run at 0.5 to 2 times the true rate",
	"decommission": "one node leaves the cluster for good, an empty one joins in its place",
	"drain":        "a minority of the nodes may lead nothing",
	"flip":         "a node is stopped, a bit of one of its files, or of each of its bodies, is flipped or a file is cut off, and it is started again",
	"full":         "the disks of a minority are filled up",
	"join":         "one more node joins, and leaves again",
	"kill":         "processes are ended by SIGKILL, and started again at the band's end",
	"oneway":       "the network drops what flows one way between a minority and the rest",
	"partition":    "the network is cut between a minority and the rest",
	"pause":        "processes are frozen (SIGSTOP), and go on at the band's end",
	"power":        "power loss of a minority: what their disks had not been told to keep is gone; started again at the band's end",
	"power-all":    "power loss of all nodes at once: what their disks had not been told to keep is gone; started again at the band's end",
	"replace":      "a node is lost with its disk, an empty one takes its place and is filled from the others",
	"restart":      "nodes are stopped in good order, and started again at the band's end",
	"ring":         "the network is cut so that each node sees a majority, and no two the same one",
	"slow":         "the links of a minority take 5 to 500 ms",
	"upgrade":      "a node's program is replaced by a newer one",
	"workerd":      "one of the workerd processes is ended by SIGKILL",
}

var systems = map[string]string{
	"":       "Bindery, a storage cluster for Cloudflare Workers on one's own machines (S3 objects, Workers KV, D1 databases, the state of Durable Objects), in which every node holds a replica and what is acknowledged must survive the loss of a minority",
	"etcd":   "etcd, a replicated key-value store, under the same faults to compare with",
	"dqlite": "dqlite, a replicated SQLite, under the same faults to compare with",
}

// Described says whether there are words for a workload, a fault or a system.
func Described(workload, fault, system string) bool {
	_, known := systems[system]
	return known && workloads[workload].Does != "" && faults[fault] != ""
}

// systemName is a system without what it is.
func systemName(system string) string {
	words, _, _ := strings.Cut(systems[system], ",")
	return words
}
