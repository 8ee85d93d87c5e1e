// Package durable asks Durable Objects through a workerd, and neither retries nor guesses.
package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"bindery/jepsen/s3"
)

// Client of one workerd.
type Client struct {
	url  string
	http *http.Client
}

// New makes a client of the workerd at url.
func New(url string, timeout time.Duration) *Client {
	return &Client{url: url, http: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: timeout}}
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
	answer, err := client.http.Post(client.url+"/"+object+"/"+method, "application/json", bytes.NewReader(body))
	if err != nil {
		var failure *net.OpError
		if errors.As(err, &failure) && failure.Op == "dial" {
			return s3.Rejected, err
		}
		return s3.Unknown, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return s3.Unknown, fmt.Errorf("answer %d cut off: %w", answer.StatusCode, err)
	}
	if answer.StatusCode != http.StatusOK {
		return s3.Unknown, fmt.Errorf("%d %.100q", answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, result); err != nil {
		return s3.Unknown, fmt.Errorf("%w: %s of %s: %.100q", s3.ErrBroken, method, object, text)
	}
	return s3.Done, nil
}
