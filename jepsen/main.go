// The fault-injection and consistency harness of Bindery: real processes, real faults, histories anyone can check.
// See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bindery/jepsen/check"
	"bindery/jepsen/cluster"
	"bindery/jepsen/history"
	"bindery/jepsen/nemesis"
	"bindery/jepsen/plan"
	"bindery/jepsen/report"
	"bindery/jepsen/workload"
)

const insideMark = "JEPSEN_INSIDE=1"

// commit of the sources, with + where they had been changed. jepsen/run sets it.
var commit string

type options struct {
	system, workload, nemesis, binary, oldBinary, workerd, dqlite, directory, name, disks, results, report string

	seconds        time.Duration
	seed           int64
	nodes, workers int
	rows           int
	part           plan.Part
	all, summary   bool
}

func parse() options {
	var o options
	flag.StringVar(&o.workload, "workload", "register", strings.Join(workload.Names(), " or "))
	flag.StringVar(&o.system, "system", "", "another system to compare with: "+strings.Join(workload.Systems(), " or "))
	flag.StringVar(&o.nemesis, "nemesis", "kill,pause,partition,oneway,ring", "faults to draw from: "+strings.Join(nemesis.Names(), ", ")+"; or none")
	flag.DurationVar(&o.seconds, "time", time.Minute, "how long clients and faults run")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano()%1000000, "of the schedule and the operations")
	flag.IntVar(&o.nodes, "nodes", 5, "of the cluster: 3 or 5")
	flag.IntVar(&o.workers, "workers", 10, "clients, each at one node")
	flag.StringVar(&o.binary, "binary", "", "the bindery program")
	flag.StringVar(&o.oldBinary, "old-binary", "", "the program that nodes begin with, for the fault upgrade")
	flag.StringVar(&o.workerd, "workerd", "", "the released workerd, for the workloads do-*")
	flag.StringVar(&o.dqlite, "dqlite", "", "bench/dqlite_node, for --system dqlite")
	flag.StringVar(&o.directory, "dir", "", "where data, logs and histories go (a temporary one, kept if the run fails)")
	flag.StringVar(&o.name, "name", "bndj", "of the network namespaces, to run several at once")
	flag.StringVar(&o.report, "report", "", "the page about the run (report.html in --dir)")
	flag.BoolVar(&o.all, "all", false, "every workload and every pair of faults, a run each; goes on where --results ends")
	flag.IntVar(&o.rows, "rows", 0, "of --all: only so many, those that have passed least often (0: all that have not passed)")
	flag.Var(&o.part, "part", "of --all: every Nth row from the Kth, as K/N; several at once need a --name each")
	flag.StringVar(&o.results, "results", "", "list of runs to add this one to, a line of JSON each")
	flag.BoolVar(&o.summary, "summary", false, "print --results as a table, and run nothing")
	flag.StringVar(&o.disks, "disks", unchosen, "file system of each node's own disk: ext4, xfs, either with -cache (a cache of the disk's own, which a loss of power empties), or empty for none; auto: ext4, with -cache where power is lost")
	flag.Parse()
	if !o.all {
		o.chooseDisks()
	}
	return o
}

const unchosen = "auto"

// chooseDisks: a flush that is left out shows only on a disk that has a cache, and costs twice there.
func (o *options) chooseDisks() {
	if o.disks != unchosen {
		return
	}
	o.disks = "ext4"
	if strings.Contains(o.nemesis, "power") {
		o.disks += "-cache"
	}
}

func main() {
	o := parse()
	if o.system == "dqlite" {
		o.binary = o.dqlite
	}
	if err := validate(o); err != nil {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		os.Exit(2)
	}
	switch {
	case o.summary:
		os.Exit(summarise(o))
	case os.Getenv("JEPSEN_INSIDE") != "":
		os.Exit(inside(o))
	}
	os.Exit(begin(o))
}

// interrupted is the status of a run that was told to end: there is nothing to look at.
const interrupted = 3

// begin runs one or all, from outside, in a directory that is removed unless something has failed, or the caller named it.
func begin(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	named := o.directory != ""
	if !named {
		var err error
		if o.directory, err = os.MkdirTemp("", "bindery-jepsen-"); err != nil {
			fmt.Fprintln(os.Stderr, "jepsen:", err)
			return 2
		}
	}
	status := 0
	if o.all {
		status = runAll(ctx, o)
	} else {
		status = outside(ctx, o, append(os.Args[1:], "--dir", o.directory))
	}
	if (status == 0 || status == interrupted) && !named {
		_ = os.RemoveAll(o.directory)
	}
	return status
}

func validate(o options) error {
	if _, err := workload.Named(o.system, o.workload); err != nil {
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	if o.nodes != 3 && o.nodes != 5 {
		return fmt.Errorf("--nodes must be 3 or 5")
	}
	if o.system == "dqlite" && o.nodes != 3 {
		return fmt.Errorf("dqlite has three voters by default: --nodes 3")
	}
	if (o.all || o.summary) && o.results == "" {
		return fmt.Errorf("--all and --summary need --results")
	}
	if o.summary {
		return nil
	}
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("--binary: %w", err)
	}
	if _, err := os.Stat(o.oldBinary); o.oldBinary != "" && err != nil {
		return fmt.Errorf("--old-binary: %w", err)
	}
	if _, err := os.Stat(o.workerd); workload.Durable(o.workload) && err != nil {
		return fmt.Errorf("--workerd: %w", err)
	}
	return nil
}

// outside makes the network, runs this program again inside it, and removes it.
func outside(ctx context.Context, o options, words []string) int {
	network := &cluster.Network{Name: o.name, Nodes: o.nodes}
	signal.Ignore(os.Interrupt) // the run inside hears it too, ends, and we clean up
	defer network.Down()
	if err := network.Up(); err != nil {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		return 2
	}
	if ctx.Err() != nil {
		return interrupted
	}
	status, err := network.Inside(ctx, words, insideMark)
	if err != nil {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		return 2
	}
	return status
}

func inside(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := os.MkdirAll(o.directory, 0o755)
	if err == nil {
		err = cluster.ShareMounts()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		return 2
	}
	verdict, err := run(ctx, o)
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "jepsen: interrupted")
		return interrupted
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "jepsen: %v\nkept: %s\n", err, o.directory)
		return 1
	}
	if !verdict {
		fmt.Printf("FAILED; kept: %s\nreplay: %s\n", o.directory, o.replay())
		return 1
	}
	return 0
}

// replay is the command that draws the same faults and operations again.
func (o options) replay() string {
	more := ""
	if o.system != "" {
		more = " --system " + o.system
	}
	if o.oldBinary != "" {
		more += " --old-binary OLD" // whichever there is
	}
	return fmt.Sprintf("jepsen/run --workload %s --nemesis %s --time %s --nodes %d --workers %d --disks '%s' --seed %d%s", o.workload,
		o.nemesis, o.seconds, o.nodes, o.workers, o.disks, o.seed, more)
}

// run does everything once. An error is about the run itself; false: the cluster broke a promise.
func run(ctx context.Context, o options) (bool, error) {
	began := time.Now()
	c, err := cluster.New(cluster.Options{Binary: o.binary, Directory: o.directory, Nodes: o.nodes, Name: o.name,
		Disks: o.disks, Clocks: strings.Contains(o.nemesis, "clock"), OldBinary: o.oldBinary, System: o.system,
		Interrupted: ctx.Done()})
	defer c.Close()
	if err != nil {
		return false, err
	}
	log := history.New()
	work, err := workload.Named(o.system, o.workload)
	if err != nil {
		return false, err
	}
	load := &workload.Run{Cluster: c, Log: log, Seed: o.seed, Workers: o.workers, Workerd: o.workerd}
	if err := load.Prepare(work); err != nil {
		return false, err
	}
	if strings.Contains(o.nemesis, "flip") {
		if err := load.Fill(); err != nil {
			return false, err
		}
	}
	evil, err := nemesis.New(c, log, o.seed, o.nemesis)
	if err != nil {
		return false, err
	}
	recovered, broken := hurt(ctx, o, c, load, work, evil)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if broken == nil {
		load.Final(work)
	}
	if err := write(o.directory, log.Events()); err != nil {
		return false, err
	}
	result := check.Result{Counts: map[string]int{}}
	if broken == nil {
		result = load.Check(work, time.Minute)
	} else { // a history without its end cannot be judged
		result.Unknown = []string{broken.Error()}
	}
	told := report.Run{System: o.system, Workload: o.workload, Nemesis: o.nemesis, Seed: o.seed, Nodes: o.nodes, Workers: o.workers,
		Disks: o.disks, Seconds: o.seconds, Commit: commit, Began: began, Replay: o.replay(), Counts: result.Counts, Faults: evil.Count(), Stops: c.Stops(), Whole: recovered,
		Anomalies: result.Anomalies, Undecided: result.Unknown, Aborts: c.Aborts(), Notes: result.Notes, Events: log.Events()}
	judge(&told)
	if err := tell(o, told); err != nil {
		return false, err
	}
	if !told.Passed { // whatever happened meanwhile
		return false, nil
	}
	return true, ctx.Err()
}

// hurt runs clients and faults side by side, then waits until the healed cluster is whole; it returns how long
// that took.
func hurt(ctx context.Context, o options, c *cluster.Cluster, load *workload.Run, work workload.Workload,
	evil *nemesis.Nemesis) (time.Duration, error) {
	timed, cancel := context.WithTimeout(ctx, o.seconds)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- evil.Run(timed) }()
	load.Load(timed, work)
	if err := <-ended; err != nil {
		return 0, err
	}
	begun := time.Now()
	err := c.WaitWhole(time.Minute)
	return time.Since(begun), err
}

func write(directory string, events []history.Event) error {
	var clients, faults []history.Event
	for _, event := range events {
		if event.Process == history.NemesisProcess {
			faults = append(faults, event)
		} else {
			clients = append(clients, event)
		}
	}
	for name, part := range map[string][]history.Event{"history.edn": clients, "nemesis.edn": faults} {
		file, err := os.Create(filepath.Join(directory, name))
		if err != nil {
			return err
		}
		err = history.WriteEDN(file, part)
		if closing := file.Close(); err == nil {
			err = closing
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// okMin is how many operations a second must have been acknowledged for a run to count, writesMin how many of them wrote: reads
// go on where nothing else does, and those of the end come when all is healed.
const okMin, writesMin = 5, 1

const anomaliesShown = 10

// judge says whether the run counts, and whether the cluster kept its promises.
func judge(told *report.Run) {
	hurt := told.Faults > 0 || told.Nemesis == "none" || told.Seconds < 15*time.Second
	seconds, writes := told.Seconds.Seconds(), len(report.Acknowledged(told.Events))
	told.TooLittle = !hurt || float64(told.Counts["ok"]) < okMin*seconds || float64(writes) < writesMin*seconds
	told.Passed = !told.TooLittle && len(told.Anomalies)+len(told.Undecided)+len(told.Aborts) == 0
}

// tell prints the verdict, makes the page, and adds the run to the list.
func tell(o options, told report.Run) error {
	fmt.Printf("%s under %s, seed %d: ok %d, refused %d, unknown outcome %d; %d faults, %d deliberate stops; whole %.1f s after healing\n",
		strings.TrimSpace(told.System+" "+told.Workload), told.Nemesis, told.Seed, told.Counts["ok"], told.Counts["fail"], told.Counts["info"], told.Faults, told.Stops,
		told.Whole.Seconds())
	for i, each := range told.Anomalies {
		if i == anomaliesShown {
			fmt.Printf("... %d anomalies in all\n", len(told.Anomalies))
			break
		}
		fmt.Println("ANOMALY:", each)
	}
	for _, each := range told.Undecided {
		fmt.Println("UNDECIDED:", each)
	}
	for _, each := range told.Aborts {
		fmt.Println("ABORT:", each)
	}
	for _, each := range told.Notes {
		fmt.Println(each)
	}
	if told.TooLittle {
		fmt.Println("TOO LITTLE: the run does not count")
	}
	path := o.report
	if path == "" {
		path = filepath.Join(o.directory, "report.html")
	}
	fmt.Println("report:", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = report.Write(file, told)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil && o.results != "" {
		err = report.Append(o.results, report.Summary(told))
	}
	return err
}

func summarise(o options) int {
	lines, err := report.Load(o.results)
	var answers []report.Planted
	if err == nil { // what tools/mutate --layers has written beside it
		answers, err = report.LoadPlanted(filepath.Join(filepath.Dir(o.results), "planted.jsonl"))
	}
	if err == nil {
		err = report.Markdown(os.Stdout, lines, table(true), answers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "jepsen:", err)
		return 2
	}
	return 0
}
