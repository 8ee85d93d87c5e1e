package main

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/canonical/go-dqlite/app"
	"github.com/canonical/go-dqlite/client"
	"github.com/canonical/go-dqlite/driver"
)

// server executes transactions through the node's own client.
type server struct {
	node  *app.App
	mutex sync.Mutex
	open  map[string]*sql.DB
}

type statement struct {
	SQL    string        `json:"sql"`
	Params []interface{} `json:"params"`
}

type meta struct {
	Changes   int64 `json:"changes"`
	ByPrimary bool  `json:"served_by_primary"` // dqlite's leader executes everything
}

type table struct {
	Columns []string        `json:"columns"`
	Rows    [][]interface{} `json:"rows"`
}

type result struct {
	Success bool  `json:"success"`
	Results table `json:"results"`
	Meta    meta  `json:"meta"`
}

// What D1 says of failures: that nothing was executed, or that nobody knows.
const (
	notExecuted = "Network connection lost."
	unknown     = "It is not known whether this was executed"
)

const timeLimit = 9 * time.Second // less than the callers'

// constraint is SQLite's code (the low byte) of a violated constraint.
const constraint = 19

func serve(node *app.App) error {
	server := &server{node: node}
	http.HandleFunc("/query", server.transaction)
	http.HandleFunc("/execute", server.transaction)
	http.HandleFunc("/members", server.members)
	return http.ListenAndServe(*listen, nil)
}

// members answers "voters leader": how many vote, and the address of the leader.
func (s *server) members(out http.ResponseWriter, request *http.Request) {
	ctx, cancel := context.WithTimeout(request.Context(), 2*time.Second)
	defer cancel()
	leader, err := s.node.Leader(ctx)
	if err != nil {
		http.Error(out, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer leader.Close()
	nodes, err := leader.Cluster(ctx)
	info, told := leader.Leader(ctx)
	if err != nil || told != nil || info == nil {
		http.Error(out, fmt.Sprint(err, told), http.StatusServiceUnavailable)
		return
	}
	voters := 0
	for _, node := range nodes {
		if node.Role == client.Voter {
			voters++
		}
	}
	fmt.Fprintln(out, voters, info.Address)
}

func (s *server) database(ctx context.Context, name string) (*sql.DB, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.open[name] == nil {
		db, err := s.node.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		if s.open == nil {
			s.open = map[string]*sql.DB{}
		}
		s.open[name] = db
	}
	return s.open[name], nil
}

// statements of the body: a list, or one alone.
func statements(body io.Reader) ([]statement, bool, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, false, err
	}
	var all []statement
	if json.Unmarshal(text, &all) == nil {
		return all, false, nil
	}
	all = make([]statement, 1)
	return all, true, json.Unmarshal(text, &all[0])
}

func (s *server) transaction(out http.ResponseWriter, request *http.Request) {
	all, alone, err := statements(request.Body)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), timeLimit)
	defer cancel()
	results, err := s.execute(ctx, strings.TrimPrefix(request.Header.Get("X-Bindery-Binding"), "d1:"), all)
	var answer interface{} = results
	switch {
	case err != nil:
		answer = map[string]string{"error": err.Error()}
	case alone:
		answer = results[0]
	}
	out.Header().Set("X-Cf-D1-Session-Commit-Token", strings.Repeat("0", 59)) // dqlite has no bookmarks
	_ = json.NewEncoder(out).Encode(answer)
}

// execute does all statements in one transaction. An error's text says whether it was done.
func (s *server) execute(ctx context.Context, name string, all []statement) ([]result, error) {
	db, err := s.database(ctx, name)
	if err != nil {
		return nil, errors.New(notExecuted)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.New(notExecuted)
	}
	defer conn.Close()
	results, err := body(ctx, conn, all)
	if err != nil { // not committed: with the connection everything is undone
		discard(conn)
		return nil, told(err)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		discard(conn)
		return nil, errors.New(unknown)
	}
	return results, nil
}

// body is a transaction without its end. Statements go over this one connection, so that nothing tries them again.
func body(ctx context.Context, conn *sql.Conn, all []statement) ([]result, error) {
	begin := "BEGIN"
	for _, each := range all {
		if !reads(each.SQL) {
			begin = "BEGIN IMMEDIATE"
		}
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return nil, err
	}
	var results []result
	for _, each := range all {
		one, err := each.run(ctx, conn)
		if err != nil {
			return nil, err
		}
		results = append(results, one)
	}
	return results, nil
}

func discard(conn *sql.Conn) { _ = conn.Raw(func(interface{}) error { return sqldriver.ErrBadConn }) }

// told is the text of a failure before the commit.
func told(err error) error {
	var failure driver.Error
	if errors.As(err, &failure) && failure.Code&0xff == constraint {
		return fmt.Errorf("%s: SQLITE_CONSTRAINT", failure.Message)
	}
	if errors.As(err, &failure) && failure.Code != driver.ErrBusy && failure.Code&0xff == 1 { // an error in the statement
		return errors.New(failure.Message)
	}
	return errors.New(notExecuted)
}

func reads(text string) bool { return strings.HasPrefix(text, "SELECT") }

// numbers makes whole numbers of JSON's.
func numbers(params []interface{}) []interface{} {
	out := make([]interface{}, len(params))
	for i, each := range params {
		out[i] = each
		if number, ok := each.(float64); ok && number == float64(int64(number)) {
			out[i] = int64(number)
		}
	}
	return out
}

// run executes one statement. Those that write and return rows are not asked for.
func (each statement) run(ctx context.Context, conn *sql.Conn) (result, error) {
	one := result{Success: true, Meta: meta{ByPrimary: true}, Results: table{Columns: []string{}, Rows: [][]interface{}{}}}
	if reads(each.SQL) {
		found, err := conn.QueryContext(ctx, each.SQL, numbers(each.Params)...)
		if err != nil {
			return one, err
		}
		defer found.Close()
		return one, one.Results.fill(found)
	}
	done, err := conn.ExecContext(ctx, each.SQL, numbers(each.Params)...)
	if err == nil {
		one.Meta.Changes, err = done.RowsAffected()
	}
	return one, err
}

func (t *table) fill(found *sql.Rows) error {
	var err error
	if t.Columns, err = found.Columns(); err != nil {
		return err
	}
	for found.Next() {
		row := make([]interface{}, len(t.Columns))
		places := make([]interface{}, len(row))
		for i := range row {
			places[i] = &row[i]
		}
		if err := found.Scan(places...); err != nil {
			return err
		}
		t.Rows = append(t.Rows, row)
	}
	return found.Err()
}
