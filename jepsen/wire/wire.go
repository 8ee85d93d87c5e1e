// Package wire is below the clients of every protocol: one connection to one server, answers that are read whole.
package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Client makes one that waits for timeout at most. It trusts the authorities in roots; a server without TLS needs none.
func Client(roots *x509.CertPool, timeout time.Duration) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxConnsPerHost: 1}
	return &http.Client{Transport: transport, Timeout: timeout}
}

// Answer of a server.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends one request. An error means that no whole answer came.
func Do(client *http.Client, request *http.Request) (*Answer, error) {
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("answer %d cut off: %w", answer.StatusCode, err)
	}
	return &Answer{answer.StatusCode, answer.Header, body}, nil
}

// Post sends a body of JSON.
func Post(client *http.Client, url string, body []byte) (*Answer, error) {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return Do(client, request)
}
