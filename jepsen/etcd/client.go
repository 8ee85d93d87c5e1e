// Package etcd speaks the JSON form of etcd's protocol, version 3, to one node, and neither retries nor guesses.
package etcd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"time"

	"bindery/jepsen/s3"
	"bindery/jepsen/wire"
)

// Client of one node.
type Client struct {
	url  string
	http *http.Client
}

// New makes a client of the node at url.
func New(url string, timeout time.Duration) *Client {
	return &Client{url: url, http: wire.Client(nil, timeout)}
}

// Close lets go of the connection.
func (client *Client) Close() { client.http.CloseIdleConnections() }

// Step of a transaction: a key is put, deleted, or all keys that begin with it are read.
type Step struct {
	Key    string
	Value  []byte // put
	Delete bool
	Read   bool
}

// If is what must be so for a transaction to be done: the key has this value; nil: there is no such key.
type If struct {
	Key   string
	Value []byte
}

// Pair is a key with its value and the revision at which it was made.
type Pair struct {
	Key     string
	Value   []byte
	Created int64
}

// Reply to a transaction. Pairs are of its reads, in the order in which they were made.
type Reply struct {
	Done     bool // the conditions held
	Revision int64
	Pairs    [][]Pair
}

type operation struct {
	Range  *keyRange `json:"request_range,omitempty"`
	Put    *put      `json:"request_put,omitempty"`
	Delete *keyRange `json:"request_delete_range,omitempty"`
}

type keyRange struct {
	Key []byte `json:"key"`
	End []byte `json:"range_end,omitempty"`
}

type put struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

type compare struct {
	Key    []byte `json:"key"`
	Target string `json:"target"`
	Value  []byte `json:"value,omitempty"`
	Create string `json:"create_revision,omitempty"`
}

// after is the first key that does not begin with this one.
func after(key string) []byte {
	end := []byte(key)
	end[len(end)-1]++
	return end
}

func encode(conditions []If, steps []Step) []byte {
	var body struct {
		Compare []compare   `json:"compare"`
		Success []operation `json:"success"`
	}
	for _, each := range conditions {
		if each.Value == nil {
			body.Compare = append(body.Compare, compare{Key: []byte(each.Key), Target: "CREATE", Create: "0"})
		} else {
			body.Compare = append(body.Compare, compare{Key: []byte(each.Key), Target: "VALUE", Value: each.Value})
		}
	}
	for _, each := range steps {
		switch key := []byte(each.Key); {
		case each.Read:
			body.Success = append(body.Success, operation{Range: &keyRange{Key: key, End: after(each.Key)}})
		case each.Delete:
			body.Success = append(body.Success, operation{Delete: &keyRange{Key: key}})
		default:
			body.Success = append(body.Success, operation{Put: &put{key, each.Value}})
		}
	}
	text, _ := json.Marshal(body) // nothing in it that cannot be encoded
	return text
}

// Txn does the steps as one transaction if the conditions hold. An error of etcd's says nothing of whether it was done.
func (client *Client) Txn(conditions []If, steps ...Step) (*Reply, s3.Outcome, error) {
	answer, err := wire.Post(client.http, client.url+"/v3/kv/txn", encode(conditions, steps))
	if err != nil {
		return nil, s3.Unknown, err
	}
	if answer.Status != http.StatusOK {
		return nil, s3.Unknown, fmt.Errorf("%d %.200s", answer.Status, answer.Body)
	}
	reply, err := decode(answer.Body)
	if err != nil {
		return nil, s3.Unknown, fmt.Errorf("%w: etcd: %v: %.200s", s3.ErrBroken, err, answer.Body)
	}
	return reply, s3.Done, nil
}

func decode(text []byte) (*Reply, error) {
	var answer struct {
		Header    struct{ Revision string }
		Succeeded bool
		Responses []struct {
			Range *struct {
				Pairs []struct {
					Key, Value []byte
					Created    string `json:"create_revision"`
				} `json:"kvs"`
			} `json:"response_range"`
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	revision, err := strconv.ParseInt(answer.Header.Revision, 10, 64)
	if err != nil {
		return nil, err
	}
	reply := &Reply{Done: answer.Succeeded, Revision: revision}
	for _, each := range answer.Responses {
		if each.Range == nil {
			continue
		}
		pairs := []Pair{}
		for _, pair := range each.Range.Pairs {
			created, err := strconv.ParseInt(pair.Created, 10, 64)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, Pair{string(pair.Key), pair.Value, created})
		}
		sort.SliceStable(pairs, func(i, j int) bool { return pairs[i].Created < pairs[j].Created })
		reply.Pairs = append(reply.Pairs, pairs)
	}
	return reply, nil
}
