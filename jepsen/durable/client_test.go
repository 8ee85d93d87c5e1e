package durable

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"bindery/jepsen/s3"
)

func TestOutcomes(t *testing.T) {
	for _, each := range []struct {
		name, body string
		status     int
		outcome    s3.Outcome
		broken     bool
	}{
		{"done", `{"n":3}`, 200, s3.Done, false},
		{"an error of the object", `Internal Error`, 500, s3.Unknown, false},
		{"another page", `<html>`, 200, s3.Unknown, true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
			if request.URL.Path != "/o1/txn" || request.Method != http.MethodPost {
				t.Errorf("%s %s", request.Method, request.URL.Path)
			}
			out.WriteHeader(each.status)
			_, _ = out.Write([]byte(each.body))
		}))
		client := New(server.URL, time.Minute)
		var told struct{ N int }
		outcome, err := client.Call("o1", "txn", &told)
		if outcome != each.outcome || errors.Is(err, s3.ErrBroken) != each.broken || (outcome == s3.Done) != (told.N == 3) {
			t.Errorf("%s: %v, %v, %v", each.name, outcome, err, told)
		}
		client.Close()
		server.Close()
		if outcome, _ := client.Call("o1", "txn", &told); outcome != s3.Rejected {
			t.Errorf("without a connection: %v", outcome)
		}
	}
}
