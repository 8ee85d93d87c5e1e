// Package d1 speaks workerd's protocol of D1 bindings to a node's bindings port, and neither retries nor guesses.
package d1

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"bindery/jepsen/s3"
	"bindery/jepsen/wire"
)

// What a session begins with; later it hands on the newest bookmark it was given. "" is no session.
const (
	FirstPrimary       = "first-primary"
	FirstUnconstrained = "first-unconstrained"
)

const sessionHeader = "X-Cf-D1-Session-Commit-Token"

// Client of one database through one node.
type Client struct {
	endpoint, database, token string
	http                      *http.Client
}

// New makes a client of the bindings port at endpoint (https://host:port).
func New(endpoint string, roots *x509.CertPool, database, token string, timeout time.Duration) *Client {
	return &Client{endpoint: endpoint, database: database, token: token, http: wire.Client(roots, timeout)}
}

// Close lets go of the connection.
func (client *Client) Close() { client.http.CloseIdleConnections() }

// Statement with its parameters (int64 or string).
type Statement struct {
	SQL    string        `json:"sql"`
	Params []interface{} `json:"params"`
}

// SQL is a statement.
func SQL(text string, params ...interface{}) Statement {
	if params == nil {
		params = []interface{}{}
	}
	return Statement{text, params}
}

// Result of one statement.
type Result struct {
	Rows      [][]json.RawMessage
	Changes   int64
	ByPrimary bool // the leader answered, not a replica
}

// Int is a number of a row.
func (result Result) Int(row, column int) (int64, error) {
	if row >= len(result.Rows) || column >= len(result.Rows[row]) {
		return 0, fmt.Errorf("%w: no row %d, column %d in an answer of %d rows", s3.ErrBroken, row, column, len(result.Rows))
	}
	var number int64
	if err := json.Unmarshal(result.Rows[row][column], &number); err != nil {
		return 0, fmt.Errorf("%w: row %d, column %d: %v", s3.ErrBroken, row, column, err)
	}
	return number, nil
}

// Reply to one transaction: a result for each of its statements.
type Reply struct {
	Results  []Result
	Bookmark string
}

// Path of the binding's two calls: what reads rows as arrays, and what run() and exec() use, which answers objects.
const (
	queryPath   = "/query?resultsFormat=ROWS_AND_COLUMNS"
	executePath = "/execute?resultsFormat=NONE"
)

// Batch runs the statements as one transaction. session: "", a constraint or a bookmark. err tells why not Done; it wraps
// s3.ErrBroken for what a cluster may never answer.
func (client *Client) Batch(session string, statements ...Statement) (*Reply, s3.Outcome, error) {
	return client.run(queryPath, session, statements, len(statements))
}

// Run is D1's run() of one statement: nothing but what it changed is looked at.
func (client *Client) Run(statement Statement) (*Reply, s3.Outcome, error) {
	return client.run(executePath, "", statement, 1)
}

func (client *Client) run(path, session string, body interface{}, count int) (*Reply, s3.Outcome, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, s3.Rejected, err
	}
	request, err := http.NewRequest(http.MethodPost, client.endpoint+path, bytes.NewReader(text))
	if err != nil {
		return nil, s3.Rejected, err
	}
	request.Header.Set("X-Bindery-Binding", "d1:"+client.database)
	request.Header.Set("Authorization", "Bearer "+client.token)
	request.Header.Set("Content-Type", "application/json")
	if session != "" {
		request.Header.Set(sessionHeader, session)
	}
	answer, err := wire.Do(client.http, request)
	if err != nil {
		return nil, s3.Unanswered(err), err
	}
	return judge(answer.Status, answer.Body, answer.Header.Get(sessionHeader), count)
}

// judge reads an answer. As the binding of workerd does, it looks for `error` in the body, not at the status.
func judge(status int, body []byte, bookmark string, count int) (*Reply, s3.Outcome, error) {
	var failure struct{ Error *string }
	if json.Unmarshal(body, &failure) == nil && failure.Error != nil {
		outcome, err := Failure(*failure.Error)
		return nil, outcome, err
	}
	results, err := decode(body)
	if err == nil && (status != http.StatusOK || len(results) != count) {
		err = fmt.Errorf("%d results to %d statements, status %d", len(results), count, status)
	}
	if err == nil && len(bookmark) != bookmarkLength {
		err = fmt.Errorf("bookmark %q", bookmark)
	}
	if err != nil {
		return nil, s3.Unknown, fmt.Errorf("%w: D1: %v", s3.ErrBroken, err)
	}
	return &Reply{results, bookmark}, s3.Done, nil
}

const bookmarkLength = 59

type element struct {
	Success bool
	Results json.RawMessage // an object of columns and rows, or a list of objects
	Meta    struct {
		Changes   int64
		ByPrimary *bool `json:"served_by_primary"`
	}
}

// decode reads an array of results, or one alone.
func decode(body []byte) ([]Result, error) {
	var elements []element
	if err := json.Unmarshal(body, &elements); err != nil {
		elements = make([]element, 1)
		if err := json.Unmarshal(body, &elements[0]); err != nil {
			return nil, err
		}
	}
	var results []Result
	for _, each := range elements {
		if !each.Success || each.Meta.ByPrimary == nil {
			return nil, fmt.Errorf("neither an error nor a result: %.200s", body)
		}
		result := Result{Changes: each.Meta.Changes, ByPrimary: *each.Meta.ByPrimary}
		if strings.HasPrefix(string(each.Results), "{") {
			var table struct{ Rows [][]json.RawMessage }
			if err := json.Unmarshal(each.Results, &table); err != nil {
				return nil, err
			}
			result.Rows = table.Rows
		}
		results = append(results, result)
	}
	return results, nil
}

// notExecuted are the texts that promise that nothing was executed (docs/design/0104-d1-surfaces.md, "Errors").
var notExecuted = []string{
	"Network connection lost.",
	"D1 DB is overloaded. Too many requests queued.",
	"The disks of a majority of the replicas are nearly full; nothing was executed",
	"D1 DB exceeded its CPU time limit", // SQLite's own errors undo the whole transaction: this one and the next
	"interrupted: SQLITE_INTERRUPT",
}

// unknown are the texts that say that it may have been executed, or that it was and the answer is lost.
var unknown = []string{
	"It is not known whether this was executed",
	"The transaction was committed, but its answer was lost with the node that executed it",
	"It was executed, but this process has no memory for the answer",
}

// Failure is what an error's text says: that a constraint stood against it (Refused), that nothing was executed (Rejected), or
// Unknown: that is everything else. err wraps s3.ErrBroken if the text is none that a workload may be given.
func Failure(text string) (s3.Outcome, error) {
	if strings.Contains(text, ": SQLITE_CONSTRAINT") {
		return s3.Refused, fmt.Errorf("%s", text)
	}
	for _, each := range notExecuted {
		if strings.HasPrefix(text, each) {
			return s3.Rejected, fmt.Errorf("%s", text)
		}
	}
	for _, each := range unknown {
		if text == each {
			return s3.Unknown, fmt.Errorf("%s", text)
		}
	}
	return s3.Unknown, fmt.Errorf("%w: D1: %s", s3.ErrBroken, text)
}

// Missing says whether a failure is that there is no such database: broken, where there must be one.
func Missing(err error) bool {
	return err != nil && strings.Contains(err.Error(), "D1: The database ") && strings.HasSuffix(err.Error(), " could not be found")
}
