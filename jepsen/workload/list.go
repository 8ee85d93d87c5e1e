package workload

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"bindery/jepsen/history"
	"bindery/jepsen/s3"
)

// The list workload: keys are added once and some removed once, while others list them all, page by page. A list
// holds every write acknowledged before it began.

const listPage = 50

func listPath(number history.Number) string { return fmt.Sprintf("%s/l/%d", Bucket, number) }

func stepList(worker *Worker) {
	switch draw := worker.Rng.Intn(100); {
	case draw < 10:
		worker.list()
	case draw < 80:
		worker.add()
	default:
		number := worker.add()
		worker.write("remove", "", number, s3.Request{Method: "DELETE", Path: listPath(number)})
	}
}

func (worker *Worker) add() history.Number {
	number := worker.next()
	worker.write("add", "", number, s3.Request{Method: "PUT", Path: listPath(number), Body: s3.Body(int64(number), 8)})
	return number
}

type listing struct {
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct{ Key string }
}

func (worker *Worker) page(token string) (*listing, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {"l/"}, "max-keys": {strconv.Itoa(listPage)}}
	if token != "" {
		query.Set("continuation-token", token)
	}
	reply, err := worker.Client.Read(s3.Request{Method: "GET", Path: Bucket, Query: query})
	if err != nil {
		return nil, err
	}
	if reply.Status != http.StatusOK {
		return nil, fmt.Errorf("%w: the bucket's list: %d %s", s3.ErrBroken, reply.Status, reply.Code)
	}
	out := &listing{}
	return out, xml.Unmarshal(reply.Body, out)
}

// list records one list of all keys; false: it did not come to its end.
func (worker *Worker) list() bool {
	index := worker.Log.Invoke(worker.process, "list", "", nil)
	shown, err := worker.pages()
	if err != nil {
		worker.noteBroken(err)
		worker.Log.Complete(index, history.Fail, nil, err.Error())
		worker.rest()
		return false
	}
	worker.Log.Complete(index, history.OK, shown, "")
	return true
}

func (worker *Worker) pages() (history.Set, error) {
	shown, last := history.Set{}, ""
	for token := ""; ; {
		page, err := worker.page(token)
		if err != nil {
			return nil, err
		}
		for _, each := range page.Contents {
			number, err := strconv.ParseInt(strings.TrimPrefix(each.Key, "l/"), 10, 64)
			if err != nil || each.Key <= last {
				return nil, fmt.Errorf("%w: key %q in a list after %q", s3.ErrBroken, each.Key, last)
			}
			last = each.Key
			shown = append(shown, history.Number(number))
		}
		if !page.IsTruncated {
			return shown, nil
		}
		token = page.NextContinuationToken
	}
}

func finalList(worker *Worker) {
	worker.untilKnown("the list", worker.list)
}
