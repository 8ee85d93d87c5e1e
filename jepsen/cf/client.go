// Package cf speaks what of Cloudflare's REST API makes and deletes things, and neither retries nor guesses.
package cf

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"bindery/jepsen/s3"
	"bindery/jepsen/wire"
)

// Kind of things that have a name and, once made, an id.
type Kind struct {
	Name  string
	path  string
	title string // member that holds the name
	id    string // member that holds the id
	taken int    // code of "the name is another's"
}

// Database and Namespace are D1's and KV's.
var (
	Database  = Kind{"database", "/d1/database", "name", "uuid", 7502}
	Namespace = Kind{"namespace", "/storage/kv/namespaces", "title", "id", 10014}
)

// Client of one node's REST port.
type Client struct {
	endpoint, token string
	http            *http.Client
}

// New makes a client of the REST port at endpoint (https://host:port).
func New(endpoint string, roots *x509.CertPool, account, token string, timeout time.Duration) *Client {
	return &Client{endpoint: endpoint + "/client/v4/accounts/" + account, token: token, http: wire.Client(roots, timeout)}
}

// Close lets go of the connection.
func (client *Client) Close() { client.http.CloseIdleConnections() }

type answer struct {
	status int
	code   int // of the first error
	body   struct {
		Success bool
		Errors  []struct{ Code int }
		Result  json.RawMessage
	}
}

// do sends one request; an error: no answer that can be read came.
func (client *Client) do(method, path string, fields map[string]string) (*answer, error) {
	var body []byte
	if fields != nil {
		body, _ = json.Marshal(fields)
	}
	request, err := http.NewRequest(method, client.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+client.token)
	request.Header.Set("Content-Type", "application/json")
	reply, err := wire.Do(client.http, request)
	if err != nil {
		return nil, err
	}
	got := &answer{status: reply.Status}
	if json.Unmarshal(reply.Body, &got.body) != nil {
		return nil, fmt.Errorf("%w: %s %s: %d and no JSON", s3.ErrBroken, method, path, reply.Status)
	}
	if len(got.body.Errors) > 0 {
		got.code = got.body.Errors[0].Code
	}
	return got, nil
}

// judge says what became of a request that changes something; refusal is the code, or 404, that says that the state stood
// against it.
func judge(what string, got *answer, err error, refusal int) (s3.Outcome, error) {
	switch {
	case err != nil:
		return s3.Unknown, err
	case got.status == http.StatusOK && got.body.Success:
		return s3.Done, nil
	case got.code == refusal || got.status == refusal:
		return s3.Refused, fmt.Errorf("%d, code %d", got.status, got.code)
	case got.status == http.StatusServiceUnavailable || got.status == http.StatusInsufficientStorage: // one of its steps may be done
		return s3.Unknown, fmt.Errorf("%d, code %d", got.status, got.code)
	}
	return s3.Unknown, fmt.Errorf("%w: %s: %d, code %d", s3.ErrBroken, what, got.status, got.code)
}

// Create makes one and returns its id. Refused: the name is taken.
func (client *Client) Create(kind Kind, name string) (string, s3.Outcome, error) {
	got, err := client.do(http.MethodPost, kind.path, map[string]string{kind.title: name})
	outcome, err := judge("creating a "+kind.Name, got, err, kind.taken)
	if outcome != s3.Done {
		return "", outcome, err
	}
	var members map[string]interface{}
	if json.Unmarshal(got.body.Result, &members) == nil {
		if id, ok := members[kind.id].(string); ok && id != "" {
			return id, s3.Done, nil
		}
	}
	return "", s3.Unknown, fmt.Errorf("%w: a %s was made and has no id: %s", s3.ErrBroken, kind.Name, got.body.Result)
}

// Delete deletes the one with this id. Refused: there is none.
func (client *Client) Delete(kind Kind, id string) (s3.Outcome, error) {
	got, err := client.do(http.MethodDelete, kind.path+"/"+id, nil)
	return judge("deleting a "+kind.Name, got, err, http.StatusNotFound)
}

const listMax = 1000

// Find gives the id of the one that has this name in the list of all; "": none. err: nothing was learnt.
func (client *Client) Find(kind Kind, name string) (string, error) {
	query := url.Values{"per_page": {fmt.Sprint(listMax)}}
	if kind.Name == Database.Name {
		query.Set("name", name)
	}
	got, err := client.do(http.MethodGet, kind.path+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	if got.status == http.StatusServiceUnavailable {
		return "", fmt.Errorf("503, code %d", got.code)
	}
	var all []map[string]interface{}
	if got.status != http.StatusOK || json.Unmarshal(got.body.Result, &all) != nil || len(all) >= listMax {
		return "", fmt.Errorf("%w: the list of %ss: %d, code %d, %d of them", s3.ErrBroken, kind.Name, got.status, got.code, len(all))
	}
	found := ""
	for _, each := range all {
		if each[kind.title] != name {
			continue
		}
		id, ok := each[kind.id].(string)
		if !ok || found != "" {
			return "", fmt.Errorf("%w: two %ss called %s, or one without id", s3.ErrBroken, kind.Name, name)
		}
		found = id
	}
	return found, nil
}
