// Package s3 is a small S3 client that never retries and never guesses: every call ends as ok, as a certain
// refusal, or as unknown. One client talks to one node over one connection at a time.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"bindery/jepsen/wire"
)

// Outcome of a call.
type Outcome int

const (
	Done     Outcome = iota // it happened
	Refused                 // it certainly did not happen: the state stood against it
	Rejected                // it certainly did not happen: it was not even looked at
	Unknown                 // it may have happened, or may happen yet
)

// Unanswered is the outcome of a call of any protocol to which no answer came: without a connection nothing was sent; after that it
// may have arrived.
func Unanswered(err error) Outcome {
	var failure *net.OpError
	if errors.As(err, &failure) && failure.Op == "dial" {
		return Rejected
	}
	return Unknown
}

// Credentials of an S3 key.
type Credentials struct{ Access, Secret string }

// Client of one node.
type Client struct {
	endpoint string
	keys     aws.Credentials
	signer   *v4.Signer
	http     *http.Client
}

// New makes a client of the node at endpoint (https://host:port), trusting the authorities in roots.
func New(endpoint string, roots *x509.CertPool, keys Credentials, timeout time.Duration) *Client {
	return &Client{
		endpoint: endpoint,
		keys:     aws.Credentials{AccessKeyID: keys.Access, SecretAccessKey: keys.Secret},
		signer:   v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		http:     wire.Client(roots, timeout),
	}
}

// Close lets go of the connection.
func (client *Client) Close() { client.http.CloseIdleConnections() }

// Reply of the server.
type Reply struct {
	Status int
	Code   string // S3 error code, "" for none
	ETag   string
	Body   []byte
}

// Request of one call. Method GET, PUT, POST, DELETE.
type Request struct {
	Method string
	Path   string // "bucket/key", each segment already free of what needs escaping
	Query  url.Values
	Header map[string]string
	Body   []byte
}

func (client *Client) build(request Request) (*http.Request, error) {
	address := client.endpoint + "/" + request.Path
	if len(request.Query) > 0 {
		address += "?" + strings.ReplaceAll(request.Query.Encode(), "+", "%20")
	}
	out, err := http.NewRequest(request.Method, address, bytes.NewReader(request.Body))
	if err != nil {
		return nil, err
	}
	for name, value := range request.Header {
		out.Header.Set(name, value)
	}
	sum := sha256.Sum256(request.Body)
	hash := hex.EncodeToString(sum[:])
	out.Header.Set("X-Amz-Content-Sha256", hash)
	return out, client.signer.SignHTTP(context.Background(), client.keys, out, hash, "s3", "auto", time.Now())
}

// Do sends one request. An error means that no answer came: the outcome of what would change something is unknown.
func (client *Client) Do(request Request) (*Reply, error) {
	out, err := client.build(request)
	if err != nil {
		return nil, err
	}
	answer, err := wire.Do(client.http, out)
	if err != nil {
		return nil, err
	}
	reply := &Reply{Status: answer.Status, ETag: strings.Trim(answer.Header.Get("ETag"), `"`), Body: answer.Body}
	if answer.Status >= 300 {
		var failure struct{ Code string }
		if xml.Unmarshal(answer.Body, &failure) == nil {
			reply.Code = failure.Code
		}
	}
	return reply, nil
}

// ErrBroken is wrapped by errors that no healthy server may cause at any time.
var ErrBroken = errors.New("a broken answer")

// skewed is how a node whose clock is hours off refuses a signature: rightly, as it sees it, and before anything is done.
const skewed = "RequestTimeTooSkewed"

// Write sends a request that changes something and says what became of it. err tells why not Done; it wraps
// ErrBroken for an answer that the S3 surface of the cluster promises never to give.
func (client *Client) Write(request Request) (*Reply, Outcome, error) {
	reply, err := client.Do(request)
	if err != nil {
		return nil, Unknown, err
	}
	switch {
	case reply.Status < 300:
		return reply, Done, nil
	case reply.Status == http.StatusServiceUnavailable:
		return reply, Unknown, fmt.Errorf("503 %s", reply.Code)
	case reply.Status == http.StatusPreconditionFailed || reply.Status == http.StatusNotFound ||
		reply.Status == http.StatusConflict:
		return reply, Refused, fmt.Errorf("%d %s", reply.Status, reply.Code)
	case reply.Code == skewed || reply.Status == http.StatusInsufficientStorage: // a majority's disks are full
		return reply, Rejected, fmt.Errorf("%d %s", reply.Status, reply.Code)
	default:
		return reply, Unknown, fmt.Errorf("%w: %s /%s: %d %s", ErrBroken, request.Method, request.Path, reply.Status,
			reply.Code)
	}
}

// Read sends a request that changes nothing; a missing object is an answer (404). err: nothing was learnt.
func (client *Client) Read(request Request) (*Reply, error) {
	reply, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	switch reply.Status {
	case http.StatusOK, http.StatusNotFound:
		return reply, nil
	case http.StatusServiceUnavailable:
		return nil, fmt.Errorf("503 %s", reply.Code)
	case http.StatusForbidden:
		if reply.Code == skewed {
			return nil, fmt.Errorf("403 %s", reply.Code)
		}
	}
	return nil, fmt.Errorf("%w: %s /%s: %d %s", ErrBroken, request.Method, request.Path, reply.Status, reply.Code)
}

// Names lists the first thousand keys under a prefix. err: nothing was learnt.
func (client *Client) Names(bucket, prefix string) ([]string, error) {
	reply, err := client.Read(Request{Method: "GET", Path: bucket, Query: url.Values{"list-type": {"2"}, "prefix": {prefix}}})
	if err != nil {
		return nil, err
	}
	var listing struct{ Contents []struct{ Key string } }
	if reply.Status != http.StatusOK || xml.Unmarshal(reply.Body, &listing) != nil {
		return nil, fmt.Errorf("%w: the list of %s: %d %s", ErrBroken, bucket, reply.Status, reply.Code)
	}
	var names []string
	for _, each := range listing.Contents {
		names = append(names, each.Key)
	}
	return names, nil
}
