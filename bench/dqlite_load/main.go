// The loads of bench/d1 on dqlite, through its Go client: each client has a connection to the leader for each of its
// databases, statements prepared on it, and one request in flight. Options and report are those of bench/d1_load.c.
//
// dqlite has one writer per database and answers others that it is busy. With -turns clients that write to one database
// take turns with one connection, whose cache stays good; else who finds it busy asks again. A checkpoint makes it busy
// in both cases.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/canonical/go-dqlite/client"
	"github.com/canonical/go-dqlite/driver"

	"bindery/bench/loop"
)

var (
	endpoints = flag.String("endpoints", "", "host:port of the nodes, comma-separated")
	op        = flag.String("op", "read", "read, scan, sum, update, insert, batch or fill")
	databases = flag.Int("databases", 1, "databases")
	name      = flag.String("name", "bench", "of the databases, before their numbers")
	clients   = flag.Int("clients", 1, "closed loops")
	rows      = flag.Int64("rows", 1000, "of t in each database")
	seconds   = flag.Float64("seconds", 5, "measured")
	warmup    = flag.Float64("warmup", 1, "before it")
	turns     = flag.Bool("turns", true, "clients that write to one database take turns with one connection")
)

type database struct {
	turn         sync.Mutex
	writer       session // with -turns; whose turn it is
	before       int64
	acknowledged int64 // atomic
}

// session is a client's side of a database.
type session struct {
	conn      *sql.Conn
	statement *sql.Stmt
	lastID    int64
}

// worker is a client: databases number, number + clients, ... are its own; more clients than databases share them.
type worker struct {
	mine     []int
	sessions []session
	random   *rand.Rand
}

var (
	shared []database
	busy   int64 // answers, atomic
	ctx    = context.Background()
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "dqlite_load:", err)
		os.Exit(2)
	}
}

func writes() bool { return *op != "read" && *op != "scan" && *op != "sum" }

// checkVoters: writes are on a majority of all nodes, not of the first that was there.
func checkVoters(store client.NodeStore, wanted int) {
	leader, err := client.FindLeader(ctx, store)
	fail(err)
	defer leader.Close()
	nodes, err := leader.Cluster(ctx)
	fail(err)
	for _, node := range nodes {
		if node.Role == client.Voter {
			wanted--
		}
	}
	if wanted != 0 {
		fail(fmt.Errorf("not all nodes vote: %v", nodes))
	}
}

// register makes the driver known that asks the cluster.
func register() {
	var nodes []client.NodeInfo
	for _, address := range strings.Split(*endpoints, ",") {
		nodes = append(nodes, client.NodeInfo{Address: address})
	}
	store := client.NewInmemNodeStore()
	fail(store.Set(ctx, nodes))
	checkVoters(store, len(nodes))
	dqlite, err := driver.New(store)
	fail(err)
	sql.Register("dqlite", dqlite)
}

func open(number int) *sql.Conn {
	db, err := sql.Open("dqlite", fmt.Sprintf("%s%d.db", *name, number))
	fail(err)
	conn, err := db.Conn(ctx)
	fail(err)
	return conn
}

// insist asks again while the database is busy.
func insist(call func() error) error {
	for {
		err := call()
		var answer driver.Error
		if !errors.As(err, &answer) || answer.Code != driver.ErrBusy {
			return err
		}
		atomic.AddInt64(&busy, 1)
		time.Sleep(50 * time.Microsecond)
	}
}

func exec(conn *sql.Conn, text string) {
	fail(insist(func() error {
		_, err := conn.ExecContext(ctx, text)
		return err
	}))
}

// counted is what the table that a load counts in has: rows, or for updates the sum of k.
func counted(conn *sql.Conn) int64 {
	query := countW
	if *op == "update" || *op == "fill" {
		query = countT
	}
	var numbers [2]int64
	fail(insist(func() error { return conn.QueryRowContext(ctx, query).Scan(&numbers[0], &numbers[1]) }))
	if *op == "update" {
		return numbers[1]
	}
	return numbers[0]
}

func prepareTables() {
	shared = make([]database, *databases)
	for i := range shared {
		if !writes() {
			return
		}
		conn := open(i)
		switch *op {
		case "fill":
			exec(conn, dropT)
			exec(conn, makeT)
		case "update":
			shared[i].before = counted(conn)
		default:
			exec(conn, dropW)
			exec(conn, makeW)
		}
		conn.Close()
		if *turns {
			shared[i].writer = newSession(i)
		}
	}
}

// checkTables: what was acknowledged is there, once.
func checkTables() int {
	wrong := 0
	for i := range shared {
		if !writes() {
			break
		}
		conn := open(i)
		if found := counted(conn) - shared[i].before; found != shared[i].acknowledged {
			fmt.Fprintf(os.Stderr, "dqlite_load: database %d: %d acknowledged, %d found\n", i, shared[i].acknowledged, found)
			wrong++
		}
		conn.Close()
	}
	return wrong
}

func newSession(number int) session {
	s := session{conn: open(number)}
	fail(insist(func() error {
		statement, err := s.conn.PrepareContext(ctx, statements[*op])
		s.statement = statement
		return err
	}))
	return s
}

func newWorker(number int) *worker {
	w := &worker{random: rand.New(rand.NewSource(int64(number) + 1)), sessions: make([]session, *databases)}
	for i := number % *databases; i < *databases; i += *clients {
		w.mine = append(w.mine, i)
		if !writes() || !*turns {
			w.sessions[i] = newSession(i)
		}
	}
	return w
}

func main() {
	flag.Parse()
	register()
	prepareTables()
	workers := make([]*worker, *clients)
	for i := range workers {
		workers[i] = newWorker(i)
	}
	if *op == "fill" && !*turns {
		fail(errors.New("a fill needs -turns"))
	}
	timing := loop.Timing{Warmup: loop.Seconds(*warmup), Measure: loop.Seconds(*seconds)}
	if *op == "fill" {
		timing = loop.Timing{}
	}
	said := map[string]any{"op": *op, "databases": *databases, "busy": &busy}
	wrong := loop.Run(*clients, timing, said, func(number, count int) (bool, error) {
		return workers[number].step(number, count)
	})
	if wrong+checkTables() > 0 {
		os.Exit(1)
	}
}
