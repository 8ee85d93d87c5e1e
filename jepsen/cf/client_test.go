package cf

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"bindery/jepsen/s3"
)

// answering makes a client of a server that always answers the same.
func answering(t *testing.T, status int, body string) *Client {
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(status)
		_, _ = out.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return New(server.URL, roots, "account", "token", time.Minute)
}

func TestOutcomes(t *testing.T) {
	for _, each := range []struct {
		name    string
		status  int
		body    string
		create  s3.Outcome
		remove  s3.Outcome
		broken  bool // of a creation
		created string
	}{
		{"made", 200, `{"success":true,"result":{"uuid":"u"}}`, s3.Done, s3.Done, false, "u"},
		{"made, without id", 200, `{"success":true,"result":{}}`, s3.Unknown, s3.Done, true, ""},
		{"taken", 400, `{"success":false,"errors":[{"code":7502}]}`, s3.Refused, s3.Unknown, false, ""},
		{"missing", 404, `{"success":false,"errors":[{"code":7404}]}`, s3.Unknown, s3.Refused, true, ""},
		{"unknown", 503, `{"success":false,"errors":[{"code":7501}]}`, s3.Unknown, s3.Unknown, false, ""},
		{"full", 507, `{"success":false,"errors":[{"code":7501}]}`, s3.Unknown, s3.Unknown, false, ""},
		{"no JSON", 502, `<html>`, s3.Unknown, s3.Unknown, true, ""},
	} {
		client := answering(t, each.status, each.body)
		id, outcome, err := client.Create(Database, "name")
		if outcome != each.create || id != each.created || errors.Is(err, s3.ErrBroken) != each.broken {
			t.Errorf("%s: create: %v, %q, %v", each.name, outcome, id, err)
		}
		if outcome, _ := client.Delete(Database, "u"); outcome != each.remove {
			t.Errorf("%s: delete: %v", each.name, outcome)
		}
	}
}

func TestFind(t *testing.T) {
	for _, each := range []struct {
		name, body, id string
		status         int
		broken         bool
	}{
		{"there", `{"result":[{"name":"xname","uuid":"a"},{"name":"name","uuid":"b"}]}`, "b", 200, false},
		{"not there", `{"result":[{"name":"xname","uuid":"a"}]}`, "", 200, false},
		{"twice", `{"result":[{"name":"name","uuid":"a"},{"name":"name","uuid":"b"}]}`, "", 200, true},
		{"no answer", `{"errors":[{"code":1}]}`, "", 503, false},
		{"refused", `{"errors":[{"code":1}]}`, "", 403, true},
	} {
		id, err := answering(t, each.status, each.body).Find(Database, "name")
		if id != each.id || errors.Is(err, s3.ErrBroken) != each.broken || (each.status == 503) != (err != nil && !each.broken) {
			t.Errorf("%s: %q, %v", each.name, id, err)
		}
	}
}
