// Package kv speaks workerd's KV protocol to a node's bindings port, and neither retries nor guesses.
package kv

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

// Client of one namespace through one node.
type Client struct {
	endpoint, namespace, token string
	http                       *http.Client
}

// New makes a client of the bindings port at endpoint (https://host:port).
func New(endpoint string, roots *x509.CertPool, namespace, token string, timeout time.Duration) *Client {
	return &Client{endpoint: endpoint, namespace: namespace, token: token, http: wire.Client(roots, timeout)}
}

// Close lets go of the connection.
func (client *Client) Close() { client.http.CloseIdleConnections() }

func (client *Client) do(method, key, query string, body []byte) (int, []byte, error) {
	address := client.endpoint + "/" + url.PathEscape(key) + "?" + query
	request, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-Bindery-Binding", "kv:"+client.namespace)
	request.Header.Set("Authorization", "Bearer "+client.token)
	answer, err := wire.Do(client.http, request)
	if err != nil {
		return 0, nil, err
	}
	return answer.Status, answer.Body, nil
}

const single = "urlencoded=true"

// Write puts a value, or deletes the key if value is nil. err tells why the outcome is not Done.
func (client *Client) Write(key string, value []byte) (s3.Outcome, error) {
	method := http.MethodPut
	if value == nil {
		method = http.MethodDelete
	}
	status, _, err := client.do(method, key, single, value)
	switch {
	case err != nil:
		return s3.Unknown, err
	case status < 300:
		return s3.Done, nil
	case status == http.StatusServiceUnavailable:
		return s3.Unknown, fmt.Errorf("503")
	case status == http.StatusInsufficientStorage:
		return s3.Refused, fmt.Errorf("507")
	}
	return s3.Unknown, fmt.Errorf("%w: %s %s: %d", s3.ErrBroken, method, key, status)
}

// Read gets a value; false: there is none. err: nothing was learnt.
func (client *Client) Read(key string) ([]byte, bool, error) {
	status, body, err := client.do(http.MethodGet, key, single, nil)
	switch {
	case err != nil:
		return nil, false, err
	case status == http.StatusOK:
		return body, true, nil
	case status == http.StatusNotFound:
		return nil, false, nil
	case status == http.StatusServiceUnavailable:
		return nil, false, fmt.Errorf("503")
	}
	return nil, false, fmt.Errorf("%w: GET %s: %d", s3.ErrBroken, key, status)
}

// List gives all keys, page after page.
func (client *Client) List(prefix string, page int) ([]string, error) {
	var keys []string
	for cursor := ""; ; {
		query := fmt.Sprintf("key_count_limit=%d&prefix=%s&cursor=%s", page, url.QueryEscape(prefix), url.QueryEscape(cursor))
		status, body, err := client.do(http.MethodGet, "", query, nil)
		if err != nil {
			return nil, err
		}
		if status != http.StatusOK {
			return nil, fmt.Errorf("list: %d", status)
		}
		var answer struct {
			Keys         []struct{ Name string }
			ListComplete bool `json:"list_complete"`
			Cursor       string
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, fmt.Errorf("%w: list: %v", s3.ErrBroken, err)
		}
		for _, each := range answer.Keys {
			if len(keys) > 0 && each.Name <= keys[len(keys)-1] {
				return nil, fmt.Errorf("%w: %q in a list after %q", s3.ErrBroken, each.Name, keys[len(keys)-1])
			}
			keys = append(keys, each.Name)
		}
		if answer.ListComplete {
			return keys, nil
		}
		cursor = answer.Cursor
	}
}
