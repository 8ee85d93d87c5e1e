// Package durable asks Durable Objects through a workerd, and neither retries nor guesses.
package durable

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"bindery/jepsen/s3"
	"bindery/jepsen/wire"
)

// Client of one workerd.
type Client struct {
	url  string
	http *http.Client
}

// New makes a client of the workerd at url.
func New(url string, timeout time.Duration) *Client {
	return &Client{url: url, http: wire.Client(nil, timeout)}
}

// Close lets go of the connection.
func (client *Client) Close() { client.http.CloseIdleConnections() }

// Call runs a method of an object and reads its answer into result. err tells why the outcome is not Done: an error of an object
// says nothing of whether what it did was committed (reference of workerd's cluster mode: a failed commit may be sent again).
func (client *Client) Call(object, method string, result interface{}, words ...interface{}) (s3.Outcome, error) {
	if words == nil {
		words = []interface{}{}
	}
	body, err := json.Marshal(words)
	if err != nil {
		return s3.Rejected, err
	}
	answer, err := wire.Post(client.http, client.url+"/"+object+"/"+method, body)
	if err != nil {
		return s3.Unanswered(err), err
	}
	if answer.Status != http.StatusOK {
		return s3.Unknown, fmt.Errorf("%d %.100q", answer.Status, answer.Body)
	}
	if err := json.Unmarshal(answer.Body, result); err != nil {
		return s3.Unknown, fmt.Errorf("%w: %s of %s: %.100q", s3.ErrBroken, method, object, answer.Body)
	}
	return s3.Done, nil
}
