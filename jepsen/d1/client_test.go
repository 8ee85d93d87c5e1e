package d1

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bindery/jepsen/s3"
)

func TestFailure(t *testing.T) {
	for _, each := range []struct {
		text    string
		outcome s3.Outcome
		broken  bool
	}{
		{"Network connection lost.", s3.Rejected, false},
		{"D1 DB is overloaded. Too many requests queued.", s3.Rejected, false},
		{"The disks of a majority of the replicas are nearly full; nothing was executed", s3.Rejected, false},
		{"It is not known whether this was executed", s3.Unknown, false},
		{"The transaction was committed, but its answer was lost with the node that executed it", s3.Unknown, false},
		{"CHECK constraint failed: balance >= 0: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)", s3.Refused, false},
		{"no such table: account at offset 7: SQLITE_ERROR", s3.Unknown, true},
		{"The database 0 could not be found", s3.Unknown, true},
		{"Internal error", s3.Unknown, true},
		{"It is not known whether this was executed. Network connection lost.", s3.Unknown, true},
	} {
		outcome, err := Failure(each.text)
		if outcome != each.outcome || errors.Is(err, s3.ErrBroken) != each.broken || err == nil {
			t.Errorf("%s: %v, %v", each.text, outcome, err)
		}
	}
}

func TestMissing(t *testing.T) {
	for text, wanted := range map[string]bool{
		"The database 5f0e could not be found":      true,
		"It is not known whether this was executed": false,
	} {
		if _, err := Failure(text); Missing(err) != wanted {
			t.Errorf("%s: %v", text, !wanted)
		}
	}
	if Missing(nil) {
		t.Error("no error is one")
	}
}

const meta = `"meta":{"changes":1,"served_by_primary":true}`

func TestJudge(t *testing.T) {
	mark := strings.Repeat("0", bookmarkLength)
	for _, each := range []struct {
		name, body, bookmark string
		status, count        int
		outcome              s3.Outcome
		broken               bool
	}{
		{"a result", `[{"success":true,"results":{"columns":["n"],"rows":[[7]]},` + meta + `}]`, mark, 200, 1, s3.Done, false},
		{"one alone", `{"success":true,"results":[],` + meta + `}`, mark, 200, 1, s3.Done, false},
		{"an error under 200", `{"success":false,"error":"Network connection lost."}`, "", 200, 1, s3.Rejected, false},
		{"one too few", `[{"success":true,"results":{"columns":[],"rows":[]},` + meta + `}]`, mark, 200, 2, s3.Unknown, true},
		{"no bookmark", `[{"success":true,"results":[],` + meta + `}]`, "", 200, 1, s3.Unknown, true},
		{"no success", `[{"success":false,"results":[],` + meta + `}]`, mark, 200, 1, s3.Unknown, true},
		{"no JSON", `<html>`, mark, 502, 1, s3.Unknown, true},
	} {
		reply, outcome, err := judge(each.status, []byte(each.body), each.bookmark, each.count)
		if outcome != each.outcome || errors.Is(err, s3.ErrBroken) != each.broken || (reply != nil) != (outcome == s3.Done) {
			t.Errorf("%s: %v, %v", each.name, outcome, err)
		}
		if each.name == "a result" {
			if number, err := reply.Results[0].Int(0, 0); number != 7 || err != nil {
				t.Errorf("%s: %d, %v", each.name, number, err)
			}
			if _, err := reply.Results[0].Int(1, 0); !errors.Is(err, s3.ErrBroken) {
				t.Errorf("%s: a row that is not there is read: %v", each.name, err)
			}
		}
	}
}

// A call that was sent and not answered is unknown and not sent again, on a new connection or on one that served before; without
// a connection it is certain that it was not executed.
func TestUnanswered(t *testing.T) {
	var asked int32
	answered := int32(1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if atomic.AddInt32(&asked, 1) == answered {
			out.Header().Set(sessionHeader, strings.Repeat("0", bookmarkLength))
			_, _ = out.Write([]byte(`[{"success":true,"results":[],` + meta + `}]`))
			return
		}
		panic(http.ErrAbortHandler)
	}))
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client := New(server.URL, roots, "db", "token", time.Minute)
	defer client.Close()
	for i, wanted := range []s3.Outcome{s3.Done, s3.Unknown, s3.Unknown} {
		if _, outcome, err := client.Run(SQL("SELECT 1")); outcome != wanted || atomic.LoadInt32(&asked) != int32(i+1) {
			t.Errorf("call %d: %v (%v), received %d times", i+1, outcome, err, atomic.LoadInt32(&asked)-int32(i))
		}
	}
	server.Close()
	if _, outcome, err := client.Run(SQL("SELECT 1")); outcome != s3.Rejected {
		t.Errorf("without a connection: %v (%v)", outcome, err)
	}
}
