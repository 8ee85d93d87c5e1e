package wire

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/cut" { // the rest never comes
			out.Header().Set("Content-Length", "10")
		}
		out.WriteHeader(http.StatusConflict)
		_, _ = out.Write([]byte(request.Method + request.Header.Get("Content-Type")))
	}))
	defer server.Close()
	client := Client(nil, time.Minute)
	defer client.CloseIdleConnections()
	answer, err := Post(client, server.URL, nil)
	if err != nil || answer.Status != http.StatusConflict || string(answer.Body) != "POSTapplication/json" {
		t.Errorf("%v, %v", answer, err)
	}
	request, err := http.NewRequest(http.MethodGet, server.URL+"/cut", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := Do(client, request); err == nil || !strings.Contains(err.Error(), "answer 409 cut off") {
		t.Errorf("half an answer is taken: %v, %v", answer, err)
	}
}
