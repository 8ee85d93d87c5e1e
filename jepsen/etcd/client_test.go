package etcd

import "testing"

// What a node of etcd 3.4 answers to a put and a read of two keys.
const answer = `{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_put":{"header":{"revision":"7"}}},
{"response_range":{"header":{"revision":"7"},"kvs":[{"key":"bC8xLzA=","create_revision":"7","mod_revision":"7","value":"MTI="},
{"key":"bC8xLzE=","create_revision":"5","mod_revision":"5","value":"MTE="}],"count":"2"}},{"response_range":{"header":{"revision":"7"}}}]}`

func TestDecode(t *testing.T) {
	reply, err := decode([]byte(answer))
	if err != nil || !reply.Done || reply.Revision != 7 || len(reply.Pairs) != 2 || len(reply.Pairs[0]) != 2 || len(reply.Pairs[1]) != 0 {
		t.Fatalf("%+v, %v", reply, err)
	}
	if first := reply.Pairs[0][0]; first.Key != "l/1/1" || string(first.Value) != "11" || first.Created != 5 {
		t.Errorf("the older of two is not the first: %+v", first)
	}
	if _, err := decode([]byte(`{}`)); err == nil {
		t.Error("an answer without a revision is read")
	}
}

func TestEncode(t *testing.T) {
	wanted := `{"compare":[{"key":"aw==","target":"CREATE","create_revision":"0"},{"key":"aw==","target":"VALUE","value":"MQ=="}],` +
		`"success":[{"request_put":{"key":"aw==","value":"Mg=="}},{"request_delete_range":{"key":"aw=="}},{"request_range":{"key":"bC8=","range_end":"bDA="}}]}`
	got := encode([]If{{Key: "k"}, {Key: "k", Value: []byte("1")}}, []Step{{Key: "k", Value: []byte("2")}, {Key: "k", Delete: true}, {Key: "l/", Read: true}})
	if string(got) != wanted {
		t.Errorf("%s", got)
	}
}
